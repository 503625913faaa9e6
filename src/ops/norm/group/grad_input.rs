//! The gradient of the input, including that through the statistics of its group.

use rayon::prelude::*;

use super::super::{fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use super::{GroupSize, fewest_samples};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Gradient of the loss with respect to the input, whose groups' means and variances depend on it.
///
/// ```text
/// inverse[n,g] = 1 / sqrt(variance[n,g] + epsilon)
/// normalised[n,row,k] = (input[n,row,k] - mean[n,g]) * inverse[n,g]
/// grad_input[n,row,k] = inverse[n,g] *
///     (weight[k] * grad_output[n,row,k] - grad_sum[n,g] / count - normalised[n,row,k] * grad_product[n,g] / count)
/// ```
///
/// for channel k of group g, with the number of a group's values and the sums of
/// [`GroupNormGradSums`](super::GroupNormGradSums). Without `affine` the weight is one.
///
/// # Shapes
/// input `[samples,rows,K]`, mean `[samples,groups]`, variance `[samples,groups]`, grad_output `[samples,rows,K]`, grad_sum
/// `[samples,groups]`, grad_product `[samples,groups]` -> grad_input `[samples,rows,K]`; then weight `[K]` if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormGradInput {
    /// The sizes.
    pub size: GroupSize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight.
    pub affine: bool,
}

/// The number of the weight among the operands.
const WEIGHT: usize = 7;

impl GroupNormGradInput {
    /// The definition of one value; `at` reads a value from the operand of a number.
    fn grad_at(&self, index: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let (segment, count) = (self.size.segment(index), self.size.count() as f64);
        let inverse = inverse_deviation(at(2, segment), self.epsilon);
        let normalised = (at(0, index) - at(1, segment)) * inverse;
        let weight = if self.affine { at(WEIGHT, index % self.size.channels) } else { 1.0 };
        inverse * (weight * at(3, index) - at(4, segment) / count - normalised * at(5, segment) / count)
    }
}

impl Op for GroupNormGradInput {
    fn name(&self) -> &'static str {
        "group_norm.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        let GroupSize { samples, rows, channels, groups } = self.size;
        let mut operands = vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("mean", [samples, groups]),
            Operand::read("variance", [samples, groups]).without_sign(),
            Operand::read("grad_output", [samples, rows, channels]),
            Operand::read("grad_sum", [samples, groups]),
            Operand::read("grad_product", [samples, groups]),
            Operand::write("grad_input", [samples, rows, channels]),
        ];
        operands.extend(self.affine.then(|| Operand::read("weight", [channels])));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let grad_input: Vec<f64> = (0..self.size.elements()).map(|index| self.grad_at(index, at)).collect();
        buffers[6].reals_mut().copy_from_slice(&grad_input);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, grad_output, grad_sum, grad_product, grad_input], weight) =
                operands.split();
            let size = &self.size;
            let (width, count) = (size.group_channels(), size.count() as f32);
            let weight = weight.first().map(|weight| weight.reals());
            let (mean, variance) = (mean.reals(), variance.reals());
            let (grad_sum, grad_product) = (grad_sum.reals(), grad_product.reals());
            let sample = size.rows * size.channels;
            let given = input.reals().par_chunks(sample).zip(grad_output.reals().par_chunks(sample));
            let work = grad_input.reals_mut().par_chunks_mut(sample).zip(given);
            let work = work.with_min_len(fewest_samples(size)).enumerate();
            work.for_each(|(sample, (grad_input, (input, grad_output)))| {
                vectorized(|| {
                    for group in 0..size.groups {
                        let segment = sample * size.groups + group;
                        let part = group * width..(group + 1) * width;
                        let mean = mean[segment];
                        let inverse = fast_inverse_deviation(variance[segment], self.epsilon);
                        let shift = grad_sum[segment] / count;
                        let slope = inverse * grad_product[segment] / count;
                        let rows = input.chunks_exact(size.channels);
                        let rows = rows.zip(grad_output.chunks_exact(size.channels));
                        for (grad_input, (input, grad)) in
                            grad_input.chunks_exact_mut(size.channels).zip(rows)
                        {
                            let given = input[part.clone()].iter().zip(&grad[part.clone()]);
                            let values = grad_input[part.clone()].iter_mut().zip(given);
                            match weight.map(|weight| &weight[part.clone()]) {
                                Some(weight) => {
                                    for ((grad_input, (x, grad)), weight) in values.zip(weight) {
                                        *grad_input = inverse * (weight * grad - shift - (x - mean) * slope);
                                    }
                                }
                                None => {
                                    for (grad_input, (x, grad)) in values {
                                        *grad_input = inverse * (grad - shift - (x - mean) * slope);
                                    }
                                }
                            }
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut constants = self.size.constants();
        constants.push(("EPSILON", self.epsilon.into()));
        let direct =
            shader!("norm/group/grad_input.wgsl", "norm/group/size.wgsl", "norm/deviation.wgsl", "grid.wgsl");
        let mut direct = KernelCall::elementwise(direct, constants, 7, self.size.elements());
        let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
        direct.complete(self.affine.then_some(WEIGHT), "WEIGHT_BINDING", weight, one);
        vec![Implementation::of("direct", direct)]
    }

    /// Three differences and four products per value.
    fn flops(&self) -> u64 {
        7 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        let inverse = largest_inverse_deviation(self.epsilon);
        Precision::approximate(4.0 * (1.0 + inverse * (1.0 + inverse)))
    }
}
