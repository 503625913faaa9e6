//! The gradients of the weight and the bias, which the gradient of the input also needs.

use rayon::prelude::*;

use super::repeated::{add_up, loop_elements, repeat};
use super::slices::TwoPasses;
use super::{fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use crate::cpu::{add_in_order, vectorized, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::parts::Loops;
use crate::ops::rows::chunk_rows;

/// Gradients of the loss with respect to the weight and the bias.
///
/// ```text
/// normalised[row,k] = (input[row,k] - mean[k]) / sqrt(variance[k] + epsilon)
/// grad_weight[k] = sum over rows of grad_output[row,k] * normalised[row,k]
/// grad_bias[k] = sum over rows of grad_output[row,k]
/// ```
///
/// # Shapes
/// input `[rows,K]`, mean `[K]`, variance `[K]`, grad_output `[rows,K]` -> grad_weight `[K]`, grad_bias `[K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormGradParameters {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
}

impl BatchNormGradParameters {
    /// The definition of the gradients of channel `k`'s weight and bias; `at` reads a value from the operand of a number.
    fn grads_of(&self, k: usize, at: impl Fn(usize, usize) -> f64) -> [f64; 2] {
        let (mean, inverse) = (at(1, k), inverse_deviation(at(2, k), self.epsilon));
        let column = || (0..self.rows).map(|row| row * self.channels + k);
        let normalised = |index: usize| (at(0, index) - mean) * inverse;
        [
            column().map(|index| at(3, index) * normalised(index)).sum(),
            column().map(|index| at(3, index)).sum(),
        ]
    }
}

impl Op for BatchNormGradParameters {
    fn name(&self) -> &'static str {
        "batch_norm.grad_parameters"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("mean", [self.channels]),
            Operand::read("variance", [self.channels]).without_sign(),
            Operand::read("grad_output", [self.rows, self.channels]),
            Operand::write("grad_weight", [self.channels]),
            Operand::write("grad_bias", [self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let grads: Vec<[f64; 2]> = {
            let buffers = operands.as_mut_slice();
            let at = |operand: usize, index: usize| buffers[operand].reals()[index];
            (0..self.channels).map(|k| self.grads_of(k, at)).collect()
        };
        let [.., grad_weight, grad_bias] = operands.all::<6>();
        for (k, grads) in grads.into_iter().enumerate() {
            [grad_weight.reals_mut()[k], grad_bias.reals_mut()[k]] = grads;
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grads_of(index % self.channels, read)[index / self.channels])
    }

    /// Each chunk of rows is summed on its own; the chunks are added in order.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, mean, variance, grad_output, grad_weight, grad_bias] = operands.all();
            let (channels, rows) = (self.channels, chunk_rows(self.channels));
            let (parts, elements) = (self.rows.div_ceil(rows) * channels, loop_elements(channels));
            with_scratch(2 * parts + elements, |scratch| {
                let (weight_parts, scratch) = scratch.split_at_mut(parts);
                let (bias_parts, means) = scratch.split_at_mut(parts);
                repeat(mean.reals().iter().copied(), means);
                let means = &*means;
                let sums = weight_parts.par_chunks_mut(channels).zip(bias_parts.par_chunks_mut(channels));
                let chunk = rows * channels;
                let tensors = input.reals().par_chunks(chunk).zip(grad_output.reals().par_chunks(chunk));
                sums.zip(tensors).for_each(|((weight_part, bias_part), (input, grad_output))| {
                    with_scratch(2 * elements, |sums| {
                        sums.fill(0.0);
                        let (weight_sums, bias_sums) = sums.split_at_mut(elements);
                        vectorized(|| {
                            for (input, grad_output) in
                                input.chunks(elements).zip(grad_output.chunks(elements))
                            {
                                let sums = weight_sums.iter_mut().zip(bias_sums.iter_mut());
                                let values = input.iter().zip(means).zip(grad_output);
                                for ((weight_sum, bias_sum), ((input, mean), grad)) in sums.zip(values) {
                                    *weight_sum += grad * (input - mean);
                                    *bias_sum += grad;
                                }
                            }
                        });
                        add_up(weight_sums, weight_part);
                        add_up(bias_sums, bias_part);
                    });
                });
                add_in_order(grad_weight.reals_mut(), weight_parts);
                add_in_order(grad_bias.reals_mut(), bias_parts);
            });
            for (grad, &variance) in grad_weight.reals_mut().iter_mut().zip(variance.reals()) {
                *grad *= fast_inverse_deviation(variance, self.epsilon);
            }
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let sliced = TwoPasses {
            rows: self.rows,
            channels: self.channels,
            first: shader!(
                "norm/grad_parameters_sliced.wgsl",
                "norm/deviation.wgsl",
                "norm/lanes.wgsl",
                "norm/sums.wgsl",
                "grid.wgsl"
            ),
            constants: vec![("EPSILON", self.epsilon.into())],
            operands: 6,
            second: shader!(
                "norm/grad_parameters_of_slices.wgsl",
                "norm/lanes.wgsl",
                "norm/sums.wgsl",
                "grid.wgsl"
            ),
        };
        let direct =
            shader!("norm/grad_parameters_direct.wgsl", "norm/deviation.wgsl", "part.wgsl", "grid.wgsl");
        let constants = vec![("CHANNELS", self.channels.into()), ("EPSILON", self.epsilon.into())];
        let direct = KernelCall::elementwise(direct, constants, 6, self.channels);
        let direct = Loops::over(self.rows).direct(&direct, device);
        best_first(sliced.sliced(device).into_iter().chain([direct]).collect())
    }

    /// A sum, a difference, and a multiply-add.
    fn flops(&self) -> u64 {
        4 * self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        let term_error = 2.0 * (1.0 + largest_inverse_deviation(self.epsilon));
        Precision { summed: self.rows, exact_on_integers: false, term_error }
    }
}
