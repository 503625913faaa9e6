//! Normalisation with given statistics.

use rayon::prelude::*;

use super::repeated::{loop_elements, repeat};
use super::{complete, fast_inverse_deviation, inverse_deviation, largest_inverse_deviation};
use crate::cpu::{vectorized, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::rows::chunk_rows;

/// Normalises each channel with the statistics of a batch, or with running statistics.
///
/// `output[row,k] = (input[row,k] - mean[k]) / sqrt(variance[k] + epsilon) * weight[k] + bias[k]`
///
/// Without `affine` there is no weight and no bias: the weight is one and the bias zero.
///
/// # Shapes
/// input `[rows,K]`, mean `[K]`, variance `[K]` -> output `[rows,K]`; then weight `[K]` and bias `[K]` if there are any.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormForward {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight and a bias.
    pub affine: bool,
}

/// Numbers of the weight and the bias among the operands.
const WEIGHT: usize = 4;
const BIAS: usize = 5;

impl BatchNormForward {
    /// The definition of one value; `at(operand, k)` reads the value of channel `k` from the operand of this number.
    fn output_at(&self, input: f64, k: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let normalised = (input - at(1, k)) * inverse_deviation(at(2, k), self.epsilon);
        if self.affine { normalised * at(WEIGHT, k) + at(BIAS, k) } else { normalised }
    }
}

impl Op for BatchNormForward {
    fn name(&self) -> &'static str {
        "batch_norm.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::read("mean", [self.channels]),
            Operand::read("variance", [self.channels]).without_sign(),
            Operand::write("output", [self.rows, self.channels]),
        ];
        if self.affine {
            operands.extend(["weight", "bias"].map(|name| Operand::read(name, [self.channels])));
        }
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let output = (0..self.rows * self.channels)
            .map(|index| self.output_at(at(0, index), index % self.channels, at))
            .collect::<Vec<f64>>();
        buffers[3].reals_mut().copy_from_slice(&output);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(read(0, index), index % self.channels, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, output], affine) = operands.split();
            let elements = loop_elements(self.channels);
            with_scratch(3 * elements, |scratch| {
                let (means, scratch) = scratch.split_at_mut(elements);
                let (scales, shifts) = scratch.split_at_mut(elements);
                let inverse =
                    variance.reals().iter().map(|&variance| fast_inverse_deviation(variance, self.epsilon));
                repeat(mean.reals().iter().copied(), means);
                match affine {
                    [weight, bias] => {
                        repeat(inverse.zip(weight.reals()).map(|(inverse, weight)| inverse * weight), scales);
                        repeat(bias.reals().iter().copied(), shifts);
                    }
                    _ => {
                        repeat(inverse, scales);
                        shifts.fill(0.0);
                    }
                }
                let (means, scales, shifts) = (&*means, &*scales, &*shifts);
                let chunk = chunk_rows(self.channels) * self.channels;
                let chunks = output.reals_mut().par_chunks_mut(chunk).zip(input.reals().par_chunks(chunk));
                chunks.for_each(|(output, input)| {
                    vectorized(|| {
                        for (output, input) in output.chunks_mut(elements).zip(input.chunks(elements)) {
                            let values = output.iter_mut().zip(input).zip(means).zip(scales).zip(shifts);
                            for ((((output, input), mean), scale), shift) in values {
                                *output = (input - mean) * scale + shift;
                            }
                        }
                    });
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("ROWS", self.rows.into()),
            ("CHANNELS", self.channels.into()),
            ("EPSILON", self.epsilon.into()),
        ];
        let direct = shader!("norm/forward_direct.wgsl", "norm/deviation.wgsl", "grid.wgsl");
        let mut direct = KernelCall::elementwise(direct, constants, 4, self.rows * self.channels);
        let operand = |number: usize| self.affine.then_some(number);
        let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
        complete(&mut direct, operand(WEIGHT), "WEIGHT_BINDING", weight, one);
        let (bias, zero) = (shader!("norm/bias.wgsl"), shader!("norm/bias_zero.wgsl"));
        complete(&mut direct, operand(BIAS), "BIAS_BINDING", bias, zero);
        vec![Implementation::of("direct", direct)]
    }

    /// A difference, a product and a multiply-add per value; work per channel is not counted.
    fn flops(&self) -> u64 {
        4 * self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::approximate(4.0 * (1.0 + largest_inverse_deviation(self.epsilon)))
    }
}
