//! wgconv trains convolutional networks on any GPU.

pub mod data;
mod error;
pub mod tensor;

pub use error::{Error, Result};
