//! Stepping through a dataset on the device: the next batch, the next step.

mod advance;
mod gather;

pub use advance::Advance;
pub use gather::{GatherBatch, NO_ROW};
