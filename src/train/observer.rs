//! Who is told what happens while a network is trained.

use std::ops::ControlFlow;

use super::evaluate::Evaluation;
use super::state::Best;
use super::trainer::{EpochReport, Progress, Trainer};
use crate::{Error, Result};

/// Is told how a training goes, and may end it.
///
/// Progress displays, records of a run and early stopping are observers; [`Trainer::run`] tells all of them, in their
/// order.
pub trait Observer {
    /// Losses have come back from the device. Breaking ends the training after the steps under way; the epoch can be
    /// carried on later.
    fn progress(&mut self, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// An epoch has ended, or was broken off: then there are no figures on the test set. Breaking ends the training.
    ///
    /// # Errors
    /// Whatever should end the training with a message.
    fn epoch(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>>;

    /// An epoch has failed; the error that is returned takes the place of the one that is given.
    fn failed(&mut self, _trainer: &mut Trainer, error: Error) -> Error {
        error
    }
}

impl Trainer {
    /// Trains until the epochs of the settings are done, or an observer has had enough.
    ///
    /// # Errors
    /// As [`Trainer::run_epoch`], and what observers report.
    pub fn run(&mut self, observers: &mut [&mut dyn Observer]) -> Result<()> {
        while self.epochs_done() < self.settings().epochs {
            let report = self.run_epoch(|progress| {
                // Each of them is told, whatever the others say.
                let broken = observers.iter_mut().map(|observer| observer.progress(progress).is_break());
                if broken.fold(false, |any, broken| any | broken) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let report = match report {
                Ok(report) => report,
                Err(error) => {
                    return Err(observers
                        .iter_mut()
                        .fold(error, |error, observer| observer.failed(self, error)));
                }
            };
            let mut ended = false;
            for observer in observers.iter_mut() {
                ended |= observer.epoch(self, &report)?.is_break();
            }
            if ended || report.test.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Ends a training when the figures on the test set have not become better for some epochs.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStopping {
    patience: usize,
    best: Option<Best>,
}

impl EarlyStopping {
    /// Waits for `patience` epochs that are no better than the best one, which is `best` at the start.
    pub fn new(patience: usize, best: Option<Best>) -> Self {
        EarlyStopping { patience, best }
    }
}

impl Observer for EarlyStopping {
    fn epoch(&mut self, _: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>> {
        let Some(test) = report.test else { return Ok(ControlFlow::Continue(())) };
        let best = Best::of(self.best, report.epoch, test);
        self.best = Some(best);
        Ok(match report.epoch - best.epoch >= self.patience {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}

impl Best {
    /// The better of an earlier epoch and of this one: the one with more images right, or else with less loss.
    pub fn of(best: Option<Best>, epoch: usize, test: Evaluation) -> Best {
        let now = Best { epoch, test };
        match best {
            Some(best) if (test.correct, -test.loss) <= (best.test.correct, -best.test.loss) => best,
            _ => now,
        }
    }
}
