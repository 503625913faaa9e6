//! wgconv trains convolutional networks on any GPU. Convolution forward, filter-gradient and input-gradient
//! are WGSL compute shaders; every operation is also written once in plain loops over f64, and everything
//! fast is proved against that.
//!
//! There are three doors into the library.
//!
//! # Train a network
//!
//! A [`Network`] is built from layers, or read from a model file, and a [`Trainer`] trains it, on a GPU if there is one,
//! else on all cores of the CPU:
//!
//! ```
//! use wgconv::{Conv2d, DeviceChoice, Network, TrainSettings, Trainer, data, executors};
//!
//! # fn main() -> wgconv::Result<()> {
//! let digits = data::synthetic(0, 2_000, 500);
//! let network = Network::builder("digits", digits.train.image)
//!     .conv2d(Conv2d::new(8, [5, 5]).same()) // 8 filters of 5x5, shared by all positions
//!     .relu() // over the whole feature map
//!     .max_pool(4)
//!     .flatten()
//!     .dense(10) // one logit per class
//!     .build()?;
//!
//! let device = executors::open(&DeviceChoice::Auto, false)?;
//! let settings = TrainSettings { schedule: "cosine".parse()?, ..TrainSettings::default() };
//! let mut trainer = Trainer::new(device.executor, network, &digits, settings)?;
//! for _ in 0..5 {
//!     let epoch = trainer.run_epoch(|_| std::ops::ControlFlow::Continue(()))?;
//!     let test = epoch.evaluation.expect("a whole epoch ends with an evaluation");
//!     println!("epoch {}: {:.1} % of the test images", epoch.epoch, 100.0 * test.accuracy());
//! }
//! assert!(trainer.evaluate()?.accuracy() > 0.8);
//! # Ok(())
//! # }
//! ```
//!
//! [`Optimizer`] and [`Schedule`] say how, [`Weights`] hold what was learnt, by name and in PyTorch's layouts; [`layers`]
//! lists the types of layers, and shows how another one is written.
//!
//! # Convolve tensors
//!
//! [`convolution`] convolves [`Tensor`]s, forward and for both gradients, with one call for each, on any device.
//!
//! # Run every step yourself
//!
//! [`plan::train_plan`] lowers a network to a [`Plan`], a list of operations over numbered buffers, as plain data; an
//! [`Executor`] runs it, step by step, and reads any buffer back.
//!
//! ```text
//! Network --lower--> Plan --fuse--> Plan --> GpuExecutor | CpuExecutor | ReferenceExecutor
//! ```
//!
//! # The house
//!
//! | folder | what is in it |
//! | --- | --- |
//! | [`data`] | labelled images: picture folders, IDX, NumPy, CIFAR, built-in digits; splits; preprocessing |
//! | [`network`] | what a network is: its graph, shape inference, variables, initialisers, presets, model files |
//! | [`layers`] | one file for each type of layer |
//! | [`ops`] | the vocabulary: one file for each operation, with its definition, its kernels and its CPU forms |
//! | [`plan`] | in what order: a network lowered to operations over numbered buffers, fusion, memory |
//! | [`gpu`] | how, on a GPU: adapters, pipelines, transfers, timing, tuning; wgpu's types stay in here |
//! | `cpu` | how, on the CPU: SIMD, panels, matrix products, scratch memory |
//! | [`host`] | the executors in host memory: the CPU in f32, and the reference, which runs the definitions in f64 |
//! | [`train`] | the loop: settings, schedules, epochs, figures, checkpoints, runs that can be resumed |
//! | [`predict`] | asking a trained network about images |
//! | `verify`, `bench` | whether what is fast gives the definition's answer; how fast it is |
//! | `report` | what a person looks at |
//! | [`files`], `host_memory` | files that are there whole or not at all; refusals in place of crashes |

#[doc(hidden)]
pub mod bench;
pub mod convolution;
#[doc(hidden)]
pub mod cpu;
pub mod data;
pub mod device;
mod error;
pub mod executors;
pub mod files;
pub mod gpu;
pub mod host;
#[doc(hidden)]
pub mod host_memory;
pub mod layers;
pub mod network;
pub mod ops;
pub mod plan;
pub mod predict;
#[doc(hidden)]
pub mod report;
pub mod tensor;
pub mod train;
#[doc(hidden)]
pub mod verify;

pub use data::{DataSplits, Dataset};
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use layers::{Conv2d, Dense, Pool};
pub use network::{Network, NetworkBuilder, Weights};
pub use ops::activation::Activation;
pub use ops::optimizer::Optimizer;
pub use plan::{Executor, Plan};
pub use predict::{Prediction, Predictor};
pub use tensor::{ImageShape, Shape, Tensor};
pub use train::{Evaluation, Schedule, TrainSettings, Trainer};

/// The README's examples, so that they stay true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
