//! Stepping through a dataset on the device: the next batch, the next step.

mod advance;
mod augment;
mod gather;

pub use advance::Advance;
pub use augment::{AugmentBatch, Move, Padding, Rectangle};
pub use gather::{GatherBatch, NO_ROW};
