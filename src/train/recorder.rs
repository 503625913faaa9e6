//! What a training writes to its run's folder after each epoch.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::Evaluation;
use super::observer::Observer;
use super::run_folder::RunFolder;
use super::state::{Basis, Best, Checkpoint};
use super::trainer::{EpochReport, Trainer};
use crate::data::HeldOut;
use crate::files::quoted_path;
use crate::{Error, Result};

/// Figures on a test set that was left for the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestFigures {
    /// Those of the last weights, and of which epoch they are.
    pub last: Best,
    /// The same of the weights that were the best on the validation set.
    pub best: Best,
}

impl TestFigures {
    /// The lines of `metrics.jsonl`, behind those of the epochs: the last weights' and the best ones'.
    pub fn metrics(&self) -> [Value; 2] {
        [("last", self.last), ("best", self.best)].map(|(weights, Best { epoch, evaluation })| {
            json!({
                "weights": weights,
                "epoch": epoch,
                "test/loss": evaluation.loss,
                "test/accuracy": evaluation.accuracy(),
            })
        })
    }
}

/// Writes the weights, the figures and the state from which a training can be resumed.
///
/// The state of an epoch is written last: whenever a run is killed, the weights, figures and best weights that belong
/// to its last state are all there.
#[derive(Debug)]
pub struct Recorder {
    run: RunFolder,
    basis: Basis,
    best: Option<Best>,
}

impl Recorder {
    /// Records a new training.
    pub fn new(run: RunFolder, basis: Basis) -> Self {
        Recorder { run, basis, best: None }
    }

    /// Continues the record of a run from a checkpoint of it; figures of later epochs are dropped.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the earlier figures cannot be read.
    pub fn resume(run: RunFolder, basis: Basis, checkpoint: &Checkpoint) -> Result<Self> {
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

    /// At the end of a training with a validation set, measures the last and the best weights on the test set, once each,
    /// and writes the figures to `metrics.jsonl`. `None` if each epoch was measured on the test set, or there are no test
    /// images. `trainer` then holds the best weights.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the best weights cannot be read, or the figures not be written; those of
    /// [`Trainer::test`].
    pub fn test(&self, trainer: &mut Trainer) -> Result<Option<TestFigures>> {
        let Some(best) = self.best else { return Ok(None) };
        if trainer.held_out() == HeldOut::Test {
            return Ok(None);
        }
        let Some(last) = trainer.test()? else { return Ok(None) };
        let weights = self.run.load("best", trainer.network())?;
        trainer.set_weights(&weights)?;
        let Some(of_best) = trainer.test()? else { return Ok(None) };
        let figures = TestFigures {
            last: Best { epoch: trainer.epochs_done(), evaluation: last },
            best: Best { evaluation: of_best, ..best },
        };
        figures.metrics().iter().try_for_each(|line| self.run.log(line))?;
        Ok(Some(figures))
    }

    fn record(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<()> {
        let state = trainer.state()?;
        let weights = state.weights(trainer.network())?;
        let best = report.evaluation.map(|now| Best::of(self.best, report.epoch, now)).or(self.best);
        let save = |name, weights| {
            self.run.save(name, trainer.network(), weights).map_err(|error| after(report.step, error))
        };
        if best.is_some_and(|best| best.epoch == report.epoch) {
            save("best", &weights)?;
        }
        save("last", &weights)?;
        let kept_apart = trainer.settings().ema.and(state.averages(trainer.network())?);
        if let Some(averages) = kept_apart {
            save("ema", &averages)?;
        }
        if let Some(evaluation) = &report.evaluation {
            self.run.log(&metrics(report, evaluation))?;
        }
        self.run.save_checkpoint(&Checkpoint { state, best, basis: self.basis.clone() })?;
        self.best = best;
        Ok(())
    }

    /// Saves the weights from before a bad step, unless there is a file of weights already.
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

    /// A bad step changes no weight, so the weights are worth a look; but they must not replace those of an epoch
    /// whose losses were finite. A device that failed gives back no weights: those of the last epoch are saved.
    fn failed(&mut self, trainer: &mut Trainer, error: Error) -> Error {
        match error {
            Error::NotFinite { what, loss, place } => match self.save_what_is_left(trainer) {
                Ok(saved) => Error::NotFinite { what, loss, place: format!("{place}; {saved}") },
                Err(error) => error,
            },
            Error::Device { device, operation, cause } => {
                let run = quoted_path(self.run.path());
                let left = match self.run.has_checkpoint() {
                    true => {
                        format!("the last epoch is saved, `wgconv train --resume {run}` goes on from there")
                    }
                    false => "nothing is saved, since no epoch was done".into(),
                };
                Error::Device { device, operation, cause: format!("{cause}; {left}") }
            }
            error => error,
        }
    }
}

/// Adds to an error the number of steps after which the weights are not finite.
fn after(steps: u64, error: Error) -> Error {
    match error {
        Error::WeightsNotFinite { what, place } => Error::WeightsNotFinite {
            what: format!("{what} after step {}", steps.saturating_sub(1)),
            place: format!("{place}; try a smaller learning rate"),
        },
        error => error,
    }
}

/// An epoch's line of `metrics.jsonl`: `val/loss` and `val/accuracy` if there is a validation set, otherwise `test/loss`
/// and `test/accuracy`.
pub fn metrics(report: &EpochReport, evaluation: &Evaluation) -> Value {
    let prefix = report.held_out.prefix();
    json!({
        "epoch": report.epoch,
        "step": report.step,
        "learning_rate": report.learning_rate,
        "train/loss": report.train_loss(),
        format!("{prefix}/loss"): evaluation.loss,
        format!("{prefix}/accuracy"): evaluation.accuracy(),
        "images_per_s": report.images_per_s,
        "seconds": report.time.as_secs_f64(),
    })
}
