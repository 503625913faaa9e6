//! The CPU forms of convolutions.

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

/// Name of the forms that read windows where they lie.
pub const DIRECT: &str = "direct";

/// Name of the form that computes whole patches of the input and adds them up.
pub const PATCHES: &str = "patches";

/// Name of the forms by Winograd's convolution.
pub const WINOGRAD: &str = "winograd_4x4";

/// Takes in a form that not every geometry has, or that suits only some: first where it is the best guess, else last.
pub fn add_form<'a>(forms: &mut Vec<CpuForm<'a>>, form: CpuForm<'a>, is_best: bool) {
    forms.insert(if is_best { 0 } else { forms.len() }, form);
}
