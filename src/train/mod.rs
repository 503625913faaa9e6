//! The training loop: batches, epochs, figures, checkpoints.

mod checkpoint;
mod evaluate;
mod feed;
mod nonfinite;
mod run_folder;
mod trainer;

pub use checkpoint::{load_weights, read_safetensors, save_tensors, save_weights};
pub use evaluate::{Evaluation, Evaluator};
pub use run_folder::{RunConfig, RunFolder};
pub use trainer::{EpochReport, Progress, TrainSettings, Trainer};
