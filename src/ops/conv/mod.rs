//! Two-dimensional convolution and its gradients.
//!
//! The bias and its gradient are operations of their own, [`bias`](super::bias).
//!
//! Where a value is infinite or NaN, the fast implementations may give NaN beside it that the definition does not have;
//! [`convolution`](crate::convolution) says where, and gives the definition's answer.

mod batch_norm;
mod cpu;
mod forward;
mod geometry;
mod gpu;
mod grad_filters;
mod grad_input;
mod max_pool;
mod phases;
mod winograd;

pub use batch_norm::ConvBatchNorm;
pub use forward::ConvForward;
pub use geometry::ConvGeometry;
pub use grad_filters::ConvGradFilters;
pub use grad_input::ConvGradInput;
pub use max_pool::ConvMaxPool;

/// Number of operands of each pass; that of an epilogue or a prologue comes after them.
const OPERANDS: usize = 3;
