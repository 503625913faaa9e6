//! Adding a bias to every row of a tensor, and the bias's gradient; after a convolution a row is a pixel.

mod forward;
mod grad;

pub use forward::BiasForward;
pub use grad::BiasGrad;
