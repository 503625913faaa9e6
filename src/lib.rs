//! wgconv trains convolutional networks on any GPU.

pub mod convolution;
pub mod cpu;
pub mod data;
pub mod device;
mod error;
pub mod executors;
pub mod gpu;
pub mod network;
pub mod ops;
pub mod plan;
pub mod reference;
pub mod report;
pub mod tensor;
pub mod train;
pub mod verify;

pub use error::{Error, Result};
