//! Normalisation of channels: with the statistics of a batch in training, and with running statistics of earlier
//! batches in evaluation; and with those of each sample by itself.
//!
//! A row is a pixel of a feature map, or a sample of flat features: rows run over all axes but the last.

mod cpu;
mod forward;
mod grad;
mod group;
mod loops;
mod repeated;
mod running;
mod slices;
pub(super) mod train;

pub use forward::BatchNormForward;
pub use grad::BatchNormGrad;
pub use group::{
    GroupNormForward, GroupNormGradInput, GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics,
    GroupSize,
};
pub use running::RunningStatistics;
pub use train::BatchNormTrain;

use crate::ops::kernel::{Constant, KernelCall, shader};

/// The sizes of a batch normalisation of a tensor `[rows,K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormSize {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
    /// Whether there is a weight and a bias, each `[K]`; without them, the weight is one and the bias zero.
    pub affine: bool,
}

impl BatchNormSize {
    /// The sizes of a tensor.
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.channels]
    }

    /// Number of values of a tensor.
    fn elements(&self) -> usize {
        self.rows * self.channels
    }

    /// The factor that makes an unbiased variance of a batch the mean of squared differences, with which its values are
    /// normalised.
    fn biased(&self) -> f64 {
        (self.rows as f64 - 1.0) / self.rows as f64
    }

    /// The constants of kernels that read or write single values; their variance is `biased` by this factor.
    fn constants(&self, biased: f64) -> Vec<(&'static str, Constant)> {
        let mut constants = vec![("ROWS", self.rows.into()), ("CHANNELS", self.channels.into())];
        constants.extend(self.of_deviation(biased));
        constants
    }

    /// The constants of `shaders/norm/batch_deviation.wgsl`.
    fn of_deviation(&self, biased: f64) -> [(&'static str, Constant); 2] {
        [("EPSILON", self.epsilon.into()), ("BIASED", (biased as f32).into())]
    }
}

/// By definition, the factor that scales differences from the mean to variance 1.
fn inverse_deviation(variance: f64, epsilon: f32) -> f64 {
    1.0 / (variance + f64::from(epsilon)).sqrt()
}

/// The factor of [`inverse_deviation`] in f32.
fn fast_inverse_deviation(variance: f32, epsilon: f32) -> f32 {
    1.0 / (variance + epsilon).sqrt()
}

/// The largest possible inverse deviation, for precisions.
fn largest_inverse_deviation(epsilon: f32) -> f64 {
    inverse_deviation(0.0, epsilon)
}

/// Adds the weight of each channel; `None` adds ones.
fn complete_weight(call: &mut KernelCall, operand: Option<usize>) {
    let (weight, one) = (shader!("norm/weight.wgsl"), shader!("norm/weight_one.wgsl"));
    call.complete(operand, "WEIGHT_BINDING", weight, one);
}

/// Adds the bias of each channel; `None` adds zeros.
fn complete_bias(call: &mut KernelCall, operand: Option<usize>) {
    let (bias, zero) = (shader!("norm/bias.wgsl"), shader!("norm/bias_zero.wgsl"));
    call.complete(operand, "BIAS_BINDING", bias, zero);
}
