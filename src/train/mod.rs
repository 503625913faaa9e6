//! The training loop: batches, epochs, figures, checkpoints.

mod checkpoint;
mod evaluate;
mod feed;
mod nonfinite;
mod observer;
mod range_test;
mod recorder;
mod run_folder;
mod state;
mod trainer;

pub use checkpoint::{load_any_weights, load_weights, read_safetensors, save_tensors, save_weights};
pub use evaluate::{Evaluation, Evaluator};
pub use observer::{EarlyStopping, Observer};
pub use range_test::{RangeStep, RangeTest, Suggestion, range_rates};
pub use recorder::{Recorder, metrics};
pub use run_folder::{RunConfig, RunFolder};
pub use state::{Basis, Best, TrainState};
pub use trainer::{EpochReport, Progress, TrainSettings, Trainer};
