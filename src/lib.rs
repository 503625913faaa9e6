//! wgconv trains convolutional networks on any GPU.

pub mod cpu;
pub mod data;
pub mod device;
mod error;
pub mod gpu;
pub mod ops;
pub mod plan;
pub mod reference;
pub mod tensor;
pub mod verify;

pub use error::{Error, Result};
