//! Tensors side by side along their channels, and the way back.
//!
//! A row is a pixel of a feature map, or a sample of flat features: rows run over all axes but the last.

mod forward;
mod grad;

pub use forward::Concatenate;
pub use grad::ConcatenateGrad;

/// Elements that a core of the CPU copies at a time, in whole rows of `channels`.
fn chunk_rows(channels: usize) -> usize {
    const ELEMENTS: usize = 16 << 10;
    (ELEMENTS / channels).max(1)
}
