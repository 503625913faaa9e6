//! The gradient of the slopes.

use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::sums::{SegmentSums, SumKernel};

/// Gradient of the loss with respect to the slopes.
///
/// `grad_weight[k] = sum over rows of grad_output[row,k] * input[row,k]`, without the rows whose input is above 0
///
/// # Shapes
/// input `[rows,K]`, grad_output `[rows,K]` -> grad_weight `[K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreluGradWeight {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

impl PreluGradWeight {
    fn sums(&self) -> SegmentSums {
        SegmentSums { segments: 1, rows: self.rows, channels: self.channels }
    }

    /// The definition of the gradient of slope `k`; `at` reads a value from the operand of a number.
    fn grad_at(&self, k: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let term = |index| if at(0, index) > 0.0 { 0.0 } else { at(1, index) * at(0, index) };
        self.sums().terms(k).map(term).sum()
    }
}

impl Op for PreluGradWeight {
    fn name(&self) -> &'static str {
        "prelu.grad_weight"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("grad_output", [self.rows, self.channels]),
            Operand::write("grad_weight", [self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, grad_output, grad_weight] = operands.all();
        let given = [input.reals(), grad_output.reals()];
        for (k, grad_weight) in grad_weight.reals_mut().iter_mut().enumerate() {
            *grad_weight = self.grad_at(k, |operand, index| given[operand][index]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, grad_output, grad_weight] = operands.all();
            let (input, grad_output) = (input.reals(), grad_output.reals());
            self.sums().run_on_cpu(grad_weight.reals_mut(), |sums, part| {
                let channels = sums.len();
                let input = input[part.clone()].chunks_exact(channels);
                let rows = input.zip(grad_output[part].chunks_exact(channels));
                vectorized(|| {
                    for (input, grad_output) in rows {
                        for ((sum, &x), grad) in sums.iter_mut().zip(input).zip(grad_output) {
                            *sum += if x > 0.0 { 0.0 } else { grad * x };
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("prelu/grad_weight.wgsl");
        let kernel = SumKernel { source, constants: Vec::new(), operands: 3, result: 2 };
        self.sums().implementations(kernel, |_| (), device)
    }

    fn flops(&self) -> u64 {
        2 * self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(self.rows)
    }
}
