//! The training loop: batches, epochs, figures, checkpoints.

mod augment;
mod augmented;
mod checkpoint;
mod confusion;
mod evaluate;
mod feed;
mod lookahead;
mod nonfinite;
mod observer;
mod range_test;
mod recipe;
mod recorder;
mod run_folder;
mod schedule;
mod settings;
mod snapshots;
mod state;
mod trainer;
mod tta;

pub use augment::{Augmentation, Flip};
pub use checkpoint::{load_any_weights, load_weights, read_safetensors, save_tensors, save_weights};
pub use confusion::{ClassFigures, Confusion};
pub use evaluate::{Evaluation, Evaluator};
pub use lookahead::Lookahead;
pub use observer::{EarlyStopping, Observer};
pub use range_test::{RangePoint, RangeTest, growing_rates};
pub use recipe::{RECIPES, Recipe};
pub use recorder::{Recorder, TestFigures, metrics};
pub use run_folder::{RunConfig, RunFolder};
pub use schedule::Schedule;
pub use settings::{ClassWeights, FreezeAfter, Precision, TrainSettings};
pub use snapshots::{Snapshot, Watch};
pub use state::{Basis, Best, Checkpoint, TrainState};
pub use trainer::{EpochReport, Progress, Trainer};
pub use tta::TestAugmentation;
