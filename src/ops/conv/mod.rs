//! Two-dimensional convolution and its gradients.
//!
//! The bias and its gradient are operations of their own, [`bias`](super::bias).

mod forward;
mod geometry;
mod grad_filters;
mod grad_input;
mod patches;

pub use forward::ConvForward;
pub use geometry::ConvGeometry;
pub use grad_filters::ConvGradFilters;
pub use grad_input::ConvGradInput;
