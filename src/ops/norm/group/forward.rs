//! Normalisation with the statistics of groups.

use rayon::prelude::*;

use super::super::{fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use super::{GroupSize, fewest_samples};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Normalises each group of channels of each sample.
///
/// `output[n,row,k] = (input[n,row,k] - mean[n,g]) / sqrt(variance[n,g] + epsilon) * weight[k] + bias[k]`, for channel k of
/// group g
///
/// Without `affine` there is no weight and no bias: the weight is one and the bias zero.
///
/// # Shapes
/// input `[samples,rows,K]`, mean `[samples,groups]`, variance `[samples,groups]` -> output `[samples,rows,K]`; then weight
/// `[K]` and bias `[K]` if there are any.
///
/// # Source
/// Wu and He 2018, "Group normalization"; Ba, Kiros and Hinton 2016, "Layer normalization".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormForward {
    /// The sizes.
    pub size: GroupSize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight and a bias.
    pub affine: bool,
}

/// Numbers of the weight and the bias among the operands.
const WEIGHT: usize = 4;
const BIAS: usize = 5;

impl GroupNormForward {
    /// The definition of one value; `at` reads a value from the operand of a number.
    fn output_at(&self, index: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let (segment, k) = (self.size.segment(index), index % self.size.channels);
        let normalised = (at(0, index) - at(1, segment)) * inverse_deviation(at(2, segment), self.epsilon);
        if self.affine { normalised * at(WEIGHT, k) + at(BIAS, k) } else { normalised }
    }
}

impl Op for GroupNormForward {
    fn name(&self) -> &'static str {
        "group_norm.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let GroupSize { samples, rows, channels, groups } = self.size;
        let mut operands = vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("mean", [samples, groups]),
            Operand::read("variance", [samples, groups]).without_sign(),
            Operand::write("output", [samples, rows, channels]),
        ];
        if self.affine {
            operands.extend(["weight", "bias"].map(|name| Operand::read(name, [channels])));
        }
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let output: Vec<f64> = (0..self.size.elements()).map(|index| self.output_at(index, at)).collect();
        buffers[3].reals_mut().copy_from_slice(&output);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, output], affine) = operands.split();
            let size = &self.size;
            let width = size.group_channels();
            let affine = match affine {
                [weight, bias] => Some((weight.reals(), bias.reals())),
                _ => None,
            };
            let sample = size.rows * size.channels;
            let statistics =
                mean.reals().par_chunks(size.groups).zip(variance.reals().par_chunks(size.groups));
            let given = input.reals().par_chunks(sample).zip(statistics);
            let work = output.reals_mut().par_chunks_mut(sample).zip(given);
            work.with_min_len(fewest_samples(size)).for_each(|(output, (input, (means, variances)))| {
                vectorized(|| {
                    for (group, (&mean, &variance)) in means.iter().zip(variances).enumerate() {
                        let inverse = fast_inverse_deviation(variance, self.epsilon);
                        let part = group * width..(group + 1) * width;
                        let rows = output.chunks_exact_mut(size.channels);
                        for (output, input) in rows.zip(input.chunks_exact(size.channels)) {
                            let values = output[part.clone()].iter_mut().zip(&input[part.clone()]);
                            match affine {
                                Some((weight, bias)) => {
                                    let affine = weight[part.clone()].iter().zip(&bias[part.clone()]);
                                    for ((output, input), (weight, bias)) in values.zip(affine) {
                                        *output = (input - mean) * inverse * weight + bias;
                                    }
                                }
                                None => values.for_each(|(output, input)| *output = (input - mean) * inverse),
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
            shader!("norm/group/forward.wgsl", "norm/group/size.wgsl", "norm/deviation.wgsl", "grid.wgsl");
        let mut direct = KernelCall::elementwise(direct, constants, 4, self.size.elements());
        let operand = |number: usize| self.affine.then_some(number);
        let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
        direct.complete(operand(WEIGHT), "WEIGHT_BINDING", weight, one);
        let (bias, zero) = (shader!("norm/bias.wgsl"), shader!("norm/bias_zero.wgsl"));
        direct.complete(operand(BIAS), "BIAS_BINDING", bias, zero);
        vec![Implementation::of("direct", direct)]
    }

    /// A difference, a product and a multiply-add per value.
    fn flops(&self) -> u64 {
        4 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        Precision::approximate(4.0 * (1.0 + largest_inverse_deviation(self.epsilon)))
    }
}
