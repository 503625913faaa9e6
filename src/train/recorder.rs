//! What a training leaves in its run's folder, epoch by epoch.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::Evaluation;
use super::observer::Observer;
use super::run_folder::RunFolder;
use super::state::{Basis, Best, Checkpoint};
use super::trainer::{EpochReport, Trainer};
use crate::{Error, Result};

/// Writes weights, figures and the state that a training can be resumed from.
///
/// The state is the last that is written of an epoch: whatever moment a run is killed at, it goes on from a state whose
/// weights, figures and best weights are all there.
#[derive(Debug)]
pub struct Recorder {
    run: RunFolder,
    basis: Basis,
    best: Option<Best>,
}

impl Recorder {
    /// Records a training that has just begun.
    pub fn new(run: RunFolder, basis: Basis) -> Self {
        Recorder { run, basis, best: None }
    }

    /// Records on behind a checkpoint of the same run: figures of epochs that it does not know are dropped.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the figures so far cannot be read.
    pub fn resume(mut run: RunFolder, basis: Basis, checkpoint: &Checkpoint) -> Result<Self> {
        run.keep_metrics(checkpoint.state.epochs)?;
        Ok(Recorder { run, basis, best: checkpoint.best })
    }

    /// The run's folder.
    pub fn run(&self) -> &RunFolder {
        &self.run
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    fn record(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<()> {
        let weights = trainer.weights()?;
        let state = trainer.state()?;
        let best = report.test.map(|test| Best::of(self.best, report.epoch, test)).or(self.best);
        let save = |name| {
            self.run.save(name, trainer.network(), &weights).map_err(|error| after(report.step, error))
        };
        if report.test.is_some() && best.is_some_and(|best| best.epoch == report.epoch) {
            save("best")?;
        }
        save("last")?;
        if let Some(test) = &report.test {
            self.run.log(&metrics(report, test))?;
        }
        self.run.save_checkpoint(&Checkpoint { state, best, basis: self.basis.clone() })?;
        self.best = best;
        Ok(())
    }

    /// Saves the weights that a bad step has left as they were, where there are none yet.
    fn save_what_is_left(&self, trainer: &mut Trainer) -> Result<&'static str> {
        if self.run.has("last") {
            return Ok("these weights are not saved, last.safetensors is that of the epoch before");
        }
        let weights = trainer.weights()?;
        match self.run.save("last", trainer.network(), &weights) {
            Ok(()) => Ok("the weights are finite, and saved"),
            Err(Error::WeightsNotFinite { .. }) => Ok("these weights are not saved"),
            Err(error) => Err(error),
        }
    }
}

impl Observer for Recorder {
    fn epoch(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>> {
        self.record(trainer, report)?;
        Ok(ControlFlow::Continue(()))
    }

    /// A bad step changes no weight, so there is something to look at, but nothing that should replace what an epoch left
    /// whose losses were finite.
    fn failed(&mut self, trainer: &mut Trainer, error: Error) -> Error {
        match error {
            Error::NotFinite { what, loss, place } => match self.save_what_is_left(trainer) {
                Ok(saved) => Error::NotFinite { what, loss, place: format!("{place}; {saved}") },
                Err(error) => error,
            },
            error => error,
        }
    }
}

/// Names the step behind which weights are not finite.
fn after(steps: u64, error: Error) -> Error {
    match error {
        Error::WeightsNotFinite { what, place } => Error::WeightsNotFinite {
            what: format!("{what} after step {}", steps.saturating_sub(1)),
            place: format!("{place}; try a smaller learning rate"),
        },
        error => error,
    }
}

/// An epoch as a line of `metrics.jsonl`.
pub fn metrics(report: &EpochReport, test: &Evaluation) -> Value {
    json!({
        "epoch": report.epoch,
        "step": report.step,
        "learning_rate": report.learning_rate,
        "train/loss": report.train_loss(),
        "test/loss": test.loss,
        "test/accuracy": test.accuracy(),
        "images_per_s": report.images_per_s,
        "seconds": report.time.as_secs_f64(),
    })
}
