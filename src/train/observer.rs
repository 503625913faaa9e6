//! Observers, which are told what happens while a network is trained.

use std::ops::ControlFlow;

use super::evaluate::Evaluation;
use super::state::Best;
use super::trainer::{EpochReport, Progress, Trainer};
use crate::{Error, Result};

/// Is told how a training proceeds, and may end it.
///
/// Progress displays, records of a run and early stopping are observers; [`Trainer::run`] calls all of them, in the
/// order given.
pub trait Observer {
    /// New losses have arrived from the device. Breaking ends the training after the steps under way; the epoch can
    /// be resumed later.
    fn progress(&mut self, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// An epoch has ended, or was interrupted and then has no evaluation. Breaking ends the training.
    ///
    /// # Errors
    /// Any error that should end the training.
    fn epoch(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>>;

    /// An epoch has failed with `error`; the returned error is reported in its place.
    fn failed(&mut self, _trainer: &mut Trainer, error: Error) -> Error {
        error
    }
}

impl Trainer {
    /// Trains until all epochs of the settings are done or an observer ends the training.
    ///
    /// # Errors
    /// Those of [`Trainer::run_epoch`], and those that observers return.
    pub fn run(&mut self, observers: &mut [&mut dyn Observer]) -> Result<()> {
        while self.epochs_done() < self.settings().epochs {
            let report = self.run_epoch(|progress| {
                // Every observer is called, even if an earlier one has broken.
                let broken = observers.iter_mut().map(|observer| observer.progress(progress).is_break());
                if broken.fold(false, |any, broken| any | broken) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let ended = report.and_then(|report| {
                let mut ended = report.evaluation.is_none();
                for observer in observers.iter_mut() {
                    ended |= observer.epoch(self, &report)?.is_break();
                }
                Ok(ended)
            });
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    return Err(observers
                        .iter_mut()
                        .fold(error, |error, observer| observer.failed(self, error)));
                }
            };
            if ended {
                break;
            }
        }
        Ok(())
    }
}

/// Ends a training when the figures on the validation set, or on the test set if there is no validation set, have not
/// improved for some epochs.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStopping {
    patience: usize,
    best: Option<Best>,
}

impl EarlyStopping {
    /// Stops after `patience` epochs that are no better than the best one so far, which is `best` at the start.
    pub fn new(patience: usize, best: Option<Best>) -> Self {
        EarlyStopping { patience, best }
    }
}

impl Observer for EarlyStopping {
    fn epoch(&mut self, _: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>> {
        let Some(evaluation) = report.evaluation else { return Ok(ControlFlow::Continue(())) };
        let best = Best::of(self.best, report.epoch, evaluation);
        self.best = Some(best);
        Ok(match report.epoch - best.epoch >= self.patience {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}

impl Best {
    /// The better of `best` and this epoch: the one with more correct images or, if they are equal, with the smaller
    /// loss.
    pub fn of(best: Option<Best>, epoch: usize, evaluation: Evaluation) -> Best {
        let merit = |evaluation: &Evaluation| (evaluation.correct, -evaluation.loss);
        match best {
            Some(best) if merit(&evaluation) <= merit(&best.evaluation) => best,
            _ => Best { epoch, evaluation },
        }
    }
}
