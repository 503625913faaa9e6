//! wgconv trains convolutional networks on any GPU. Convolution forward, filter-gradient and input-gradient
//! are WGSL compute shaders; every operation is also written once in plain loops over f64, and everything
//! fast is proved against that.
//!
//! A network is trained in a few lines, on a GPU if there is one, else on all cores of the CPU:
//!
//! ```
//! use std::ops::ControlFlow;
//! use wgconv::data;
//! use wgconv::device::DeviceChoice;
//! use wgconv::executors;
//! use wgconv::layers::Conv2d;
//! use wgconv::network::Network;
//! use wgconv::train::{TrainSettings, Trainer};
//!
//! # fn main() -> wgconv::Result<()> {
//! let digits = data::synthetic(0, 2_000, 500);
//! let network = Network::builder("digits", digits.train.image)
//!     .conv2d(Conv2d::new(8, [5, 5]).same()) // 8 filters of 5x5, shared by all positions
//!     .relu() // over the whole feature map
//!     .max_pool(4)
//!     .flatten()
//!     .dense(10) // a logit a class
//!     .build()?;
//!
//! let device = executors::open(&DeviceChoice::Auto, false)?;
//! let mut trainer = Trainer::new(device.executor, network, &digits, TrainSettings::default())?;
//! for _ in 0..5 {
//!     let epoch = trainer.run_epoch(|_| ControlFlow::Continue(()))?;
//!     let test = epoch.test.expect("a whole epoch ends with an evaluation");
//!     println!("epoch {}: {:.1} % of the test images", epoch.epoch, 100.0 * test.accuracy());
//! }
//! assert!(trainer.evaluate()?.accuracy() > 0.8);
//! # Ok(())
//! # }
//! ```
//!
//! # The house
//!
//! | folder | what is in it |
//! | --- | --- |
//! | [`network`] | what: layers, shape inference, initialisers, presets, model files |
//! | [`ops`] | the vocabulary: an operation's definition, its kernels and its CPU form, one file an operation |
//! | [`plan`] | in what order: a network lowered to operations over numbered buffers, and their memory |
//! | [`gpu`] | how, on a GPU: adapters, pipelines, transfers, timing, tuning; wgpu's types stay in here |
//! | [`cpu`] | how, on the CPU: SIMD, panels, matrix products, scratch memory |
//! | [`host`] | the executors in host memory: the CPU in f32, and the reference, which runs the definitions in f64 |
//! | [`train`] | the loop: batches, epochs, figures, weights in files |
//! | [`data`] | datasets: IDX, CIFAR, image folders, built-in digits |
//! | [`verify`] | whether what is fast gives the definition's answer |
//! | [`mod@bench`] | how fast convolutions run, against what the device could do |
//! | [`report`] | what a person looks at |
//! | [`mod@host_memory`] | how much memory this process may still take, and refusals in place of crashes |
//! | [`files`] | files that are there whole or not at all, and the folder of caches |
//!
//! ```text
//! Network --lower--> Plan --> GpuExecutor | CpuExecutor | ReferenceExecutor
//! ```
//!
//! # Three doors
//!
//! [`convolution`] convolves host tensors, one call a pass. [`network::Network`] and [`train::Trainer`] train, as
//! above. [`plan::train_plan`] and [`plan::Executor`] give every step into the caller's hands.

pub mod bench;
pub mod convolution;
pub mod cpu;
pub mod data;
pub mod device;
mod error;
pub mod executors;
pub mod files;
pub mod gpu;
pub mod host;
pub mod host_memory;
pub mod layers;
pub mod network;
pub mod ops;
pub mod plan;
pub mod report;
pub mod tensor;
pub mod train;
pub mod verify;

pub use error::{Error, Result};

/// The README's examples, so that they stay true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
