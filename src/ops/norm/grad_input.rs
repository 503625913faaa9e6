//! The gradient of the input, including that through the statistics of its batch.

use rayon::prelude::*;

use super::repeated::{loop_elements, repeat};
use super::{complete, fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use crate::cpu::{vectorized, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::rows::chunk_rows;

/// Gradient of the loss with respect to the input, whose mean and variance depend on it.
///
/// ```text
/// inverse[k] = 1 / sqrt(variance[k] + epsilon)
/// normalised[row,k] = (input[row,k] - mean[k]) * inverse[k]
/// grad_input[row,k] = weight[k] * inverse[k] *
///     (grad_output[row,k] - grad_bias[k] / rows - normalised[row,k] * grad_weight[k] / rows)
/// ```
///
/// The gradients of the weight and the bias are those of [`BatchNormGradParameters`](super::BatchNormGradParameters),
/// which are needed even if there are no such parameters: without `affine` the weight is one.
///
/// # Shapes
/// input `[rows,K]`, mean `[K]`, variance `[K]`, grad_output `[rows,K]`, grad_weight `[K]`, grad_bias `[K]` -> grad_input
/// `[rows,K]`; then weight `[K]` if there is one.
///
/// # Source
/// Ioffe and Szegedy 2015, section 3, with the sums combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormGradInput {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight.
    pub affine: bool,
}

/// The number of the weight among the operands.
const WEIGHT: usize = 7;

impl BatchNormGradInput {
    /// The definition of one value; `at` reads a value from the operand of a number.
    fn grad_at(&self, index: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let (k, rows) = (index % self.channels, self.rows as f64);
        let inverse = inverse_deviation(at(2, k), self.epsilon);
        let normalised = (at(0, index) - at(1, k)) * inverse;
        let weight = if self.affine { at(WEIGHT, k) } else { 1.0 };
        let (grad_output, grad_weight, grad_bias) = (at(3, index), at(4, k), at(5, k));
        weight * inverse * (grad_output - grad_bias / rows - normalised * grad_weight / rows)
    }
}

impl Op for BatchNormGradInput {
    fn name(&self) -> &'static str {
        "batch_norm.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("mean", [self.channels]),
            Operand::read("variance", [self.channels]).without_sign(),
            Operand::read("grad_output", [self.rows, self.channels]),
            Operand::read("grad_weight", [self.channels]),
            Operand::read("grad_bias", [self.channels]),
            Operand::write("grad_input", [self.rows, self.channels]),
        ];
        operands.extend(self.affine.then(|| Operand::read("weight", [self.channels])));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let grad_input: Vec<f64> =
            (0..self.rows * self.channels).map(|index| self.grad_at(index, at)).collect();
        buffers[6].reals_mut().copy_from_slice(&grad_input);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, grad_output, grad_weight, grad_bias, grad_input], weight) =
                operands.split();
            let (elements, rows) = (loop_elements(self.channels), self.rows as f32);
            with_scratch(4 * elements, |scratch| {
                let (means, scratch) = scratch.split_at_mut(elements);
                let (factors, scratch) = scratch.split_at_mut(elements);
                let (shifts, slopes) = scratch.split_at_mut(elements);
                let inverse =
                    variance.reals().iter().map(|&variance| fast_inverse_deviation(variance, self.epsilon));
                repeat(mean.reals().iter().copied(), means);
                match weight {
                    [weight] => {
                        repeat(
                            inverse.clone().zip(weight.reals()).map(|(inverse, weight)| inverse * weight),
                            factors,
                        );
                    }
                    _ => repeat(inverse.clone(), factors),
                }
                repeat(grad_bias.reals().iter().map(|grad| grad / rows), shifts);
                repeat(inverse.zip(grad_weight.reals()).map(|(inverse, grad)| inverse * grad / rows), slopes);
                let (means, factors, shifts, slopes) = (&*means, &*factors, &*shifts, &*slopes);
                let chunk = chunk_rows(self.channels) * self.channels;
                let tensors = input.reals().par_chunks(chunk).zip(grad_output.reals().par_chunks(chunk));
                grad_input.reals_mut().par_chunks_mut(chunk).zip(tensors).for_each(
                    |(grad_input, (input, grad_output))| {
                        vectorized(|| {
                            let tensors = input.chunks(elements).zip(grad_output.chunks(elements));
                            for (grad_input, (input, grad_output)) in
                                grad_input.chunks_mut(elements).zip(tensors)
                            {
                                let channels = means.iter().zip(factors).zip(shifts).zip(slopes);
                                let values = input.iter().zip(grad_output).zip(channels);
                                for (grad_input, ((input, grad), (((mean, factor), shift), slope))) in
                                    grad_input.iter_mut().zip(values)
                                {
                                    *grad_input = factor * (grad - shift - (input - mean) * slope);
                                }
                            }
                        });
                    },
                );
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("ROWS", self.rows.into()),
            ("CHANNELS", self.channels.into()),
            ("EPSILON", self.epsilon.into()),
        ];
        let direct = shader!("norm/grad_input_direct.wgsl", "norm/deviation.wgsl", "grid.wgsl");
        let mut direct = KernelCall::elementwise(direct, constants, 7, self.rows * self.channels);
        let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
        complete(&mut direct, self.affine.then_some(WEIGHT), "WEIGHT_BINDING", weight, one);
        vec![Implementation::of("direct", direct)]
    }

    /// Three differences and three products per value; work per channel is not counted.
    fn flops(&self) -> u64 {
        6 * self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        let inverse = largest_inverse_deviation(self.epsilon);
        Precision::approximate(4.0 * (1.0 + inverse * (1.0 + inverse)))
    }
}
