//! Multiplying the channels of each image by factors of their own.

mod forward;
mod grad_factors;

pub use forward::Multiply;
pub use grad_factors::MultiplyGradFactors;
