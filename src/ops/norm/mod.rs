//! Normalisation of channels: by the statistics of a batch in training, by those of the batches before in evaluation.
//!
//! A row is a pixel of a map, or a sample of flat features: all axes but the last.

mod forward;
mod grad_input;
mod grad_parameters;
mod repeated;
mod running;
mod slices;
mod statistics;

pub use forward::BatchNormForward;
pub use grad_input::BatchNormGradInput;
pub use grad_parameters::BatchNormGradParameters;
pub use running::BatchNormRunning;
pub use statistics::BatchNormStatistics;

use crate::ops::kernel::{Binding, KernelCall, Source};

/// By definition, what a difference from the mean is multiplied by to have variance 1.
fn inverse_deviation(variance: f64, epsilon: f32) -> f64 {
    1.0 / (variance + f64::from(epsilon)).sqrt()
}

/// The same in f32.
fn fast_inverse_deviation(variance: f32, epsilon: f32) -> f32 {
    1.0 / (variance + epsilon).sqrt()
}

/// The largest inverse deviation there is, for precisions.
fn largest_inverse_deviation(epsilon: f32) -> f64 {
    inverse_deviation(0.0, epsilon)
}

/// Gives a kernel a variable of the channels, with its function and the const line of this `name` for its binding:
/// `operand` is its number among the operands of the operation. Where there is none the kernel takes `constant`.
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
