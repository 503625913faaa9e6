//! Leaky ReLUs whose slopes are learnt, one for each channel.
//!
//! A row is a pixel of a feature map, or a sample of flat features: rows run over all axes but the last.

mod forward;
mod grad_input;
mod grad_weight;

pub use forward::PreluForward;
pub use grad_input::PreluGradInput;
pub use grad_weight::PreluGradWeight;

/// Elements that a core of the CPU takes at a time, in whole rows of `channels`.
fn chunk(channels: usize) -> usize {
    const ELEMENTS: usize = 8 << 10;
    (ELEMENTS / channels).max(1) * channels
}
