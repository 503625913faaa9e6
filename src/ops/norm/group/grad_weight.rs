//! The gradient of the weight. That of the bias is a [`BiasGrad`](crate::ops::bias::BiasGrad).

use super::super::{fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use super::GroupSize;
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::sums::{SegmentSums, SumKernel};

/// Gradient of the loss with respect to the weight of a [`GroupNormForward`](super::GroupNormForward).
///
/// `grad_weight[k] = sum over n,row of grad_output[n,row,k] * (input[n,row,k] - mean[n,g]) / sqrt(variance[n,g] + epsilon)`,
/// for channel k of group g
///
/// # Shapes
/// input `[samples,rows,K]`, mean `[samples,groups]`, variance `[samples,groups]`, grad_output `[samples,rows,K]` ->
/// grad_weight `[K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormGradWeight {
    /// The sizes.
    pub size: GroupSize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
}

impl GroupNormGradWeight {
    fn sums(&self) -> SegmentSums {
        let GroupSize { samples, rows, channels, .. } = self.size;
        SegmentSums { segments: 1, rows: samples * rows, channels }
    }

    /// The definition of the gradient of channel `k`'s weight; `at` reads a value from the operand of a number.
    fn grad_at(&self, k: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let term = |index| {
            let segment = self.size.segment(index);
            let inverse = inverse_deviation(at(2, segment), self.epsilon);
            at(3, index) * (at(0, index) - at(1, segment)) * inverse
        };
        self.sums().terms(k).map(term).sum()
    }
}

impl Op for GroupNormGradWeight {
    fn name(&self) -> &'static str {
        "group_norm.grad_weight"
    }

    fn operands(&self) -> Vec<Operand> {
        let GroupSize { samples, rows, channels, groups } = self.size;
        vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("mean", [samples, groups]),
            Operand::read("variance", [samples, groups]).without_sign(),
            Operand::read("grad_output", [samples, rows, channels]),
            Operand::write("grad_weight", [channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [given @ .., grad_weight] = operands.all::<5>();
        for (k, grad_weight) in grad_weight.reals_mut().iter_mut().enumerate() {
            *grad_weight = self.grad_at(k, |operand, index| given[operand].reals()[index]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, mean, variance, grad_output, grad_weight] = operands.all();
            let (input, mean, variance) = (input.reals(), mean.reals(), variance.reals());
            let grad_output = grad_output.reals();
            let size = &self.size;
            let (channels, width) = (size.channels, size.group_channels());
            self.sums().run_on_cpu(grad_weight.reals_mut(), |sums, part| {
                let first_row = part.start / channels;
                let rows = input[part.clone()].chunks_exact(channels);
                let rows = rows.zip(grad_output[part].chunks_exact(channels));
                vectorized(|| {
                    for (row, (input, grad_output)) in rows.enumerate() {
                        let first = (first_row + row) / size.rows * size.groups;
                        let groups = sums.chunks_exact_mut(width).zip(input.chunks_exact(width));
                        let groups = groups.zip(grad_output.chunks_exact(width));
                        for (group, ((sums, input), grad_output)) in groups.enumerate() {
                            let mean = mean[first + group];
                            let inverse = fast_inverse_deviation(variance[first + group], self.epsilon);
                            for ((sum, input), grad) in sums.iter_mut().zip(input).zip(grad_output) {
                                *sum += grad * ((input - mean) * inverse);
                            }
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let GroupSize { rows, groups, .. } = self.size;
        let kernel = SumKernel {
            source: shader!("norm/group/grad_weight.wgsl", "norm/deviation.wgsl"),
            constants: vec![
                ("SAMPLE_ROWS", rows.into()),
                ("GROUPS", groups.into()),
                ("EPSILON", self.epsilon.into()),
            ],
            operands: 5,
            result: 4,
        };
        self.sums().implementations(kernel, |_| (), device)
    }

    /// A difference, a product and a multiply-add per value.
    fn flops(&self) -> u64 {
        4 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        let term_error = 2.0 * (1.0 + largest_inverse_deviation(self.epsilon));
        Precision { summed: self.sums().rows, exact_on_integers: false, term_error }
    }
}
