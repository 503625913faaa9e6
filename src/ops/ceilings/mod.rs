//! Operations that measure what a device could do at best, and are good for nothing else.

mod copy;
mod fma;

pub use copy::CopyRate;
pub use fma::FmaRate;
