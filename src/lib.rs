//! wgconv trains convolutional networks on any GPU.

mod cpu;
pub mod data;
pub mod device;
mod error;
pub mod network;
pub mod ops;
pub mod report;
pub mod tensor;

pub use error::{Error, Result};
