//! Adding a bias to every row of a tensor, and the bias's gradient; after a convolution a row is a pixel.

mod beside;
mod forward;
mod grad;

pub(in crate::ops) use beside::BesideWeight;
pub use forward::BiasForward;
pub use grad::BiasGrad;
