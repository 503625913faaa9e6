//! Normalisation of channels: with the statistics of a batch in training, and with running statistics of earlier
//! batches in evaluation; and with those of each sample by itself.
//!
//! A row is a pixel of a feature map, or a sample of flat features: rows run over all axes but the last.

mod forward;
mod grad_input;
mod grad_parameters;
mod group;
mod repeated;
mod running;
mod slices;
mod statistics;

pub use forward::BatchNormForward;
pub use grad_input::BatchNormGradInput;
pub use grad_parameters::BatchNormGradParameters;
pub use group::{
    GroupNormForward, GroupNormGradInput, GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics,
    GroupSize,
};
pub use running::BatchNormRunning;
pub use statistics::BatchNormStatistics;

use crate::ops::kernel::{Binding, KernelCall, Source};

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

/// Adds a per-channel variable to a kernel: its function, and the const line of this `name` with its binding. `operand`
/// is its number among the operands of the operation; `None` adds `constant` instead.
fn complete(
    call: &mut KernelCall,
    operand: Option<usize>,
    name: &'static str,
    variable: Source,
    constant: Source,
) {
    let Some(operand) = operand else {
        call.source.files.extend(constant.files);
        return;
    };
    call.source.files.extend(variable.files);
    call.source.sizes.push((name, call.bindings.len() as u32));
    call.bindings.push(Binding::Operand(operand));
}
