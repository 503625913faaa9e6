//! Operations that serve only to measure a device's peak rates.

mod copy;
mod fma;

pub use copy::CopyRate;
pub use fma::FmaRate;
