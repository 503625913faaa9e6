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
//! | micro-kernel, in [`crate::cpu`] | vectors and registers | `Panels` and `ChannelFilters` for windows of many channels and of one a group, `add_outer_products` and `add_channel_products` for filter gradients, `multiply` for patches |
//!
//! Micro-kernels read some values behind the last one that counts, [`spare`](crate::cpu::spare) of them at most, and ignore
//! them; [`Source`] copies a strip that would end before them.

mod correlation;
mod filter_sums;
mod line;
pub mod patches;
mod source;
mod winograd;
mod winograd_filters;
mod winograd_lines;

pub use correlation::Correlation;
pub use filter_sums::FilterSums;
pub use source::Source;
pub use winograd::WinogradCorrelation;
pub use winograd_filters::WinogradFilters;

use crate::ops::op::CpuForm;

/// Name of the forms that read windows where they lie.
pub const DIRECT: &str = "direct";

/// Name of the form that computes whole patches of the input and adds them up.
pub const PATCHES: &str = "patches";

/// Name of the forms by Winograd's convolution.
pub const WINOGRAD: &str = "winograd_4x4";

/// Puts Winograd's convolution among the `others`, where it can be done: first, if it is expected to pay.
pub fn with_winograd(others: Vec<CpuForm>, correlation: Correlation<'_>) -> Vec<CpuForm> {
    let mut forms = others;
    if let Some(winograd) = WinogradCorrelation::new(correlation) {
        let position = if winograd.pays() { 0 } else { forms.len() };
        forms.insert(position, CpuForm::rounding(WINOGRAD));
    }
    forms
}

impl Correlation<'_> {
    /// Runs the pass in the form of this name, where it has one, else directly.
    pub fn run_in(
        &self,
        form: &str,
        source: &Source<'_>,
        filters: &[f32],
        result: &mut [f32],
        finish: impl Fn(&mut [f32]) + Sync,
    ) {
        match WinogradCorrelation::new(*self) {
            Some(winograd) if form == WINOGRAD => winograd.run(source, filters, result, finish),
            _ => self.run(source, filters, result, finish),
        }
    }
}
