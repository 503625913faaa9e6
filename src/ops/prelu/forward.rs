//! Applying leaky ReLUs with a slope for each channel.

use rayon::prelude::*;

use super::chunk;
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Multiplies what is not above zero by its channel's slope.
///
/// `output[row,k] = input[row,k]` where that is above 0, else `weight[k] * input[row,k]`
///
/// # Shapes
/// input `[rows,K]`, weight `[K]` -> output `[rows,K]`.
///
/// # Source
/// He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers"; PyTorch's `PReLU`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreluForward {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

impl PreluForward {
    /// The definition of one value.
    fn output_at(&self, input: f64, weight: f64) -> f64 {
        if input > 0.0 { input } else { weight * input }
    }
}

impl Op for PreluForward {
    fn name(&self) -> &'static str {
        "prelu.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("weight", [self.channels]),
            Operand::write("output", [self.rows, self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, weight, output] = operands.all();
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            *output = self.output_at(input.reals()[index], weight.reals()[index % self.channels]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(read(0, index), read(1, index % self.channels)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, weight, output] = operands.all();
            let (weight, chunk) = (weight.reals(), chunk(self.channels));
            let chunks = output.reals_mut().par_chunks_mut(chunk).zip(input.reals().par_chunks(chunk));
            chunks.for_each(|(output, input)| {
                vectorized(|| {
                    let rows = output.chunks_exact_mut(weight.len()).zip(input.chunks_exact(weight.len()));
                    for (output, input) in rows {
                        for ((output, &x), weight) in output.iter_mut().zip(input).zip(weight) {
                            *output = if x > 0.0 { x } else { weight * x };
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let elements = self.rows * self.channels;
        let constants = vec![("ELEMENTS", elements.into()), ("CHANNELS", self.channels.into())];
        let direct = shader!("prelu/forward.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, elements))]
    }

    fn flops(&self) -> u64 {
        self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(1)
    }
}
