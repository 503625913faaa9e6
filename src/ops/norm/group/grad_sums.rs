//! The sums through which the gradient of a group's input depends on its statistics.

use rayon::prelude::*;

use super::super::{fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use super::{GroupSize, fewest_samples, reduction, sum};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Sums of the gradients of a group's normalised values, for [`GroupNormGradInput`](super::GroupNormGradInput).
///
/// ```text
/// normalised[n,row,k] = (input[n,row,k] - mean[n,g]) / sqrt(variance[n,g] + epsilon)
/// grad_sum[n,g] = sum of weight[k] * grad_output[n,row,k]
/// grad_product[n,g] = sum of weight[k] * grad_output[n,row,k] * normalised[n,row,k]
/// ```
///
/// over the rows of sample n and the channels k of group g. Without `affine` the weight is one.
///
/// # Shapes
/// input `[samples,rows,K]`, mean `[samples,groups]`, variance `[samples,groups]`, grad_output `[samples,rows,K]` -> grad_sum
/// `[samples,groups]`, grad_product `[samples,groups]`; then weight `[K]` if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormGradSums {
    /// The sizes.
    pub size: GroupSize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight.
    pub affine: bool,
}

/// The number of the weight among the operands.
const WEIGHT: usize = 6;

impl GroupNormGradSums {
    /// The definition of a group's sums; `at` reads a value from the operand of a number.
    fn sums_of(&self, segment: usize, at: impl Fn(usize, usize) -> f64) -> [f64; 2] {
        let (mean, inverse) = (at(1, segment), inverse_deviation(at(2, segment), self.epsilon));
        let mut sums = [0.0; 2];
        for index in self.size.indices(segment) {
            let weight = if self.affine { at(WEIGHT, index % self.size.channels) } else { 1.0 };
            let grad = weight * at(3, index);
            sums[0] += grad;
            sums[1] += grad * (at(0, index) - mean) * inverse;
        }
        sums
    }
}

impl Op for GroupNormGradSums {
    fn name(&self) -> &'static str {
        "group_norm.grad_sums"
    }

    fn operands(&self) -> Vec<Operand> {
        let GroupSize { samples, rows, channels, groups } = self.size;
        let mut operands = vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("mean", [samples, groups]),
            Operand::read("variance", [samples, groups]).without_sign(),
            Operand::read("grad_output", [samples, rows, channels]),
            Operand::write("grad_sum", [samples, groups]),
            Operand::write("grad_product", [samples, groups]),
        ];
        operands.extend(self.affine.then(|| Operand::read("weight", [channels])));
        operands
    }

    fn takes_halves(&self, operand: usize) -> bool {
        !self.operands()[operand].access.writes()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let sums: Vec<[f64; 2]> =
            (0..self.size.segments()).map(|segment| self.sums_of(segment, at)).collect();
        for (segment, sums) in sums.into_iter().enumerate() {
            [buffers[4].reals_mut()[segment], buffers[5].reals_mut()[segment]] = sums;
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let segments = self.size.segments();
        Some(self.sums_of(index % segments, read)[index / segments])
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, grad_output, grad_sum, grad_product], weight) = operands.split();
            let size = &self.size;
            let (groups, width) = (size.groups, size.group_channels());
            let weight = weight.first().map(|weight| weight.reals());
            let sample = size.rows * size.channels;
            let statistics = mean.reals().par_chunks(groups).zip(variance.reals().par_chunks(groups));
            let given = input.reals().par_chunks(sample).zip(grad_output.reals().par_chunks(sample));
            let sums = grad_sum.reals_mut().par_chunks_mut(groups);
            let sums = sums.zip(grad_product.reals_mut().par_chunks_mut(groups));
            let work = sums.zip(statistics.zip(given)).with_min_len(fewest_samples(size));
            work.for_each(|((sums, products), ((means, variances), (input, grad_output)))| {
                vectorized(|| {
                    for (group, (grad_sum, grad_product)) in sums.iter_mut().zip(products).enumerate() {
                        let (mean, part) = (means[group], group * width..(group + 1) * width);
                        let [mut sum_of_rows, mut product_of_rows] = [0.0; 2];
                        let rows = input.chunks_exact(size.channels);
                        for (input, grad) in rows.zip(grad_output.chunks_exact(size.channels)) {
                            let (input, grad) = (&input[part.clone()], &grad[part.clone()]);
                            match weight.map(|weight| &weight[part.clone()]) {
                                Some(weight) => {
                                    sum_of_rows += sum([grad, weight], |[grad, weight]| grad * weight);
                                    product_of_rows += sum([grad, weight, input], |[grad, weight, x]| {
                                        grad * weight * (x - mean)
                                    });
                                }
                                None => {
                                    sum_of_rows += sum([grad], |[grad]| grad);
                                    product_of_rows += sum([grad, input], |[grad, x]| grad * (x - mean));
                                }
                            }
                        }
                        *grad_sum = sum_of_rows as f32;
                        *grad_product =
                            product_of_rows as f32 * fast_inverse_deviation(variances[group], self.epsilon);
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("norm/group/grad_sums.wgsl", "norm/deviation.wgsl");
        let complete = |call: &mut crate::ops::kernel::KernelCall| {
            call.constants.push(("EPSILON", self.epsilon.into()));
            let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
            call.complete(self.affine.then_some(WEIGHT), "WEIGHT_BINDING", weight, one);
        };
        reduction::implementations(&self.size, &source, &shader!("norm/sums.wgsl"), 6, complete, device)
    }

    /// A sum, a difference, and three products per value.
    fn flops(&self) -> u64 {
        6 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        let term_error = 2.0 * (1.0 + largest_inverse_deviation(self.epsilon));
        Precision { summed: self.size.count(), exact_on_integers: false, term_error }
    }
}
