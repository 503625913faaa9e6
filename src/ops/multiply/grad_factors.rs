//! The gradient of the factors.

use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::sums::{SegmentSums, SumKernel};

/// Gradient of the loss with respect to the factors of a [`Multiply`](super::Multiply).
///
/// `grad_factors[n,k] = sum over rows of grad_output[n,row,k] * input[n,row,k]`
///
/// # Shapes
/// input `[samples,rows,K]`, grad_output `[samples,rows,K]` -> grad_factors `[samples,K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiplyGradFactors {
    /// Number of images.
    pub samples: usize,
    /// Number of pixels of an image, or 1 for flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

impl MultiplyGradFactors {
    fn sums(&self) -> SegmentSums {
        SegmentSums { segments: self.samples, rows: self.rows, channels: self.channels }
    }

    /// The definition of one gradient; `at` reads a value from the operand of a number.
    fn grad_at(&self, index: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        self.sums().terms(index).map(|index| at(0, index) * at(1, index)).sum()
    }
}

impl Op for MultiplyGradFactors {
    fn name(&self) -> &'static str {
        "multiply.grad_factors"
    }

    fn operands(&self) -> Vec<Operand> {
        let MultiplyGradFactors { samples, rows, channels } = *self;
        vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("grad_output", [samples, rows, channels]),
            Operand::write("grad_factors", [samples, channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, grad_output, grad_factors] = operands.all();
        let given = [input.reals(), grad_output.reals()];
        for (index, grad_factor) in grad_factors.reals_mut().iter_mut().enumerate() {
            *grad_factor = self.grad_at(index, |operand, index| given[operand][index]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, grad_output, grad_factors] = operands.all();
            let (input, grad_output) = (input.reals(), grad_output.reals());
            self.sums().run_on_cpu(grad_factors.reals_mut(), |sums, part| {
                let channels = sums.len();
                let input = input[part.clone()].chunks_exact(channels);
                let rows = input.zip(grad_output[part].chunks_exact(channels));
                vectorized(|| {
                    for (input, grad_output) in rows {
                        for ((sum, x), grad) in sums.iter_mut().zip(input).zip(grad_output) {
                            *sum += x * grad;
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("multiply/grad_factors.wgsl");
        let kernel = SumKernel { source, constants: Vec::new(), operands: 3, result: 2 };
        self.sums().implementations(kernel, |_| (), device)
    }

    fn flops(&self) -> u64 {
        2 * self.samples as u64 * self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(self.rows)
    }
}
