//! The CPU forms of convolutions.
//!
//! From the definition down to the vectors, each type stands on those below it:
//!
//! | level | what is decided there | types |
//! | --- | --- | --- |
//! | operation | the definition, and which form to run | `ConvForward`, `ConvGradInput`, `ConvGradFilters` |
//! | pass | strips that fit a cache, shared out among threads | [`Correlation`] for forward and input gradient, [`FilterSums`]; by Winograd's convolution [`WinogradCorrelation`], [`WinogradFilters`]; by whole patches [`patches`] |
//! | axis | which source positions a result meets | `Line`; `Phase`, one of a strided input gradient |
//! | memory | rows with their padding and the prologue applied | [`Source`] |
//! | micro-kernel, in [`crate::cpu`] | vectors and registers | `Panels` for windows of many channels, `Windows` for those of small groups, forward and for their filter gradients; `add_outer_products` for other filter gradients, `multiply` for patches |
//!
//! Micro-kernels read some values behind the last one that counts, [`spare`](crate::cpu::spare) of them at most, and ignore
//! them; [`Source`] copies a strip that would end before them.

mod channel_wise;
mod correlation;
mod filter_sums;
mod line;
pub mod patches;
mod source;
mod winograd;
mod winograd_filters;
mod winograd_lines;

pub use correlation::{Correlation, CorrelationOperands};
pub use filter_sums::{FilterOperands, FilterSums};
pub use source::Source;
pub use winograd::WinogradCorrelation;
pub use winograd_filters::WinogradFilters;

use crate::ops::op::CpuForm;

/// Name of the forms that read windows in place.
pub const DIRECT: &str = "direct";

/// Name of the form that computes whole patches of the input's gradient and adds them.
pub const PATCHES: &str = "patches";

/// Name of the forms that use Winograd's convolution.
pub const WINOGRAD: &str = "winograd_4x4";

/// Adds a form that not every geometry has: as the first if it is the best guess, otherwise as the last.
pub fn add_form<'a>(forms: &mut Vec<CpuForm<'a>>, form: CpuForm<'a>, is_best: bool) {
    forms.insert(if is_best { 0 } else { forms.len() }, form);
}
