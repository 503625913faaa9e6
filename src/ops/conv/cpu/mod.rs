//! The CPU forms of convolutions.

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

/// Name of the forms that read windows in place.
pub const DIRECT: &str = "direct";

/// Name of the form that computes whole patches of the input's gradient and adds them.
pub const PATCHES: &str = "patches";

/// Name of the forms that use Winograd's convolution.
pub const WINOGRAD: &str = "winograd_4x4";

/// Adds Winograd's convolution to the `others` if it is possible: as the first if it is expected to pay off.
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
