//! The gradient of the input of leaky ReLUs with a slope for each channel.

use rayon::prelude::*;

use super::chunk;
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Gradient of the loss with respect to the input.
///
/// `grad_input[row,k] = grad_output[row,k]` where `input[row,k]` is above 0, else `weight[k] * grad_output[row,k]`
///
/// # Shapes
/// input `[rows,K]`, weight `[K]`, grad_output `[rows,K]` -> grad_input `[rows,K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreluGradInput {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

impl PreluGradInput {
    /// The definition of one value.
    fn grad_at(&self, input: f64, weight: f64, grad_output: f64) -> f64 {
        if input > 0.0 { grad_output } else { weight * grad_output }
    }
}

impl Op for PreluGradInput {
    fn name(&self) -> &'static str {
        "prelu.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("weight", [self.channels]),
            Operand::read("grad_output", [self.rows, self.channels]),
            Operand::write("grad_input", [self.rows, self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, weight, grad_output, grad_input] = operands.all();
        let (input, weight, grad_output) = (input.reals(), weight.reals(), grad_output.reals());
        for (index, grad_input) in grad_input.reals_mut().iter_mut().enumerate() {
            *grad_input = self.grad_at(input[index], weight[index % self.channels], grad_output[index]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(read(0, index), read(1, index % self.channels), read(2, index)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, weight, grad_output, grad_input] = operands.all();
            let (weight, chunk) = (weight.reals(), chunk(self.channels));
            let given = input.reals().par_chunks(chunk).zip(grad_output.reals().par_chunks(chunk));
            grad_input.reals_mut().par_chunks_mut(chunk).zip(given).for_each(
                |(grad_input, (input, grad_output))| {
                    vectorized(|| {
                        let channels = weight.len();
                        let given = input.chunks_exact(channels).zip(grad_output.chunks_exact(channels));
                        for (grad_input, (input, grad_output)) in
                            grad_input.chunks_exact_mut(channels).zip(given)
                        {
                            let given = input.iter().zip(grad_output).zip(weight);
                            for (grad_input, ((&x, &grad), weight)) in grad_input.iter_mut().zip(given) {
                                *grad_input = if x > 0.0 { grad } else { weight * grad };
                            }
                        }
                    });
                },
            );
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let elements = self.rows * self.channels;
        let constants = vec![("ELEMENTS", elements.into()), ("CHANNELS", self.channels.into())];
        let direct = shader!("prelu/grad_input.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 4, elements))]
    }

    fn flops(&self) -> u64 {
        self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(1)
    }
}
