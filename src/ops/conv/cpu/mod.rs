//! The CPU forms of convolutions.

mod correlation;
mod filter_sums;
mod line;
mod source;

pub use correlation::Correlation;
pub use filter_sums::FilterSums;
pub use source::Source;

/// Name of the forms that read windows where they lie.
pub const DIRECT: &str = "direct";

/// Name of the form that computes whole patches of the input and adds them up.
pub const PATCHES: &str = "patches";
