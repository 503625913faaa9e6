//! The speed of convolutions on a device, compared with the device's limits.

mod case;
mod ceilings;
mod compare;
mod device;
mod pass;
mod rotation;
mod row;
mod suites;
mod timing;

pub use case::{ConvCase, ConvSizes, named_apart, read_cases};
pub use ceilings::{Ceilings, Roof};
pub use compare::{Compared, Comparison, Work, compare};
pub use device::BenchDevice;
pub use pass::Pass;
pub use row::{Request, Row, Status, Summary, summaries};
pub use suites::{SUITES, suite};
pub use timing::{Timing, geometric_mean, time};
