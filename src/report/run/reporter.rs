//! Writing the report of a run while it goes on.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::history::History;
use super::page::{page, pictures};
use super::probe::Activity;
use super::story::Story;
use super::teller::Teller;
use crate::files::{write_atomically, write_durably};
use crate::network::{Network, Weights};
use crate::train::{EpochReport, Observer, RunFolder, Snapshot, Trainer, Watch};
use crate::{Error, Result};

/// The page in a run's folder.
pub const PAGE: &str = "report.html";

/// The file of [`History`] in a run's folder.
const HISTORY: &str = "history.safetensors";

/// The folder of pictures in a run's folder.
const PICTURES: &str = "pictures";

/// Writes the report of a training after each epoch, in a thread of its own: the training does not wait for it. If epochs
/// end faster than reports are written, a report covers several of them.
#[derive(Debug)]
pub struct Reporter {
    epochs: Option<Sender<Epoch>>,
    writer: Option<JoinHandle<Result<()>>>,
}

/// What an epoch adds to a report.
struct Epoch {
    losses: Vec<f32>,
    snapshots: Vec<Snapshot>,
    weights: Weights,
    logits: Vec<f32>,
}

impl Reporter {
    /// Reports on a training that is about to start, or to go on after its first epochs; `trainer` is
    /// [watched](Trainer::watch) from now on.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed. Without the history of all epochs before, the report begins here.
    pub fn start(trainer: &mut Trainer, run: &RunFolder, teller: Teller) -> Result<Reporter> {
        let network = trainer.network().clone();
        let path = history_path(run);
        let (epochs, steps) = (trainer.epochs_done(), trainer.steps_per_epoch());
        let history = match History::load(&path, &network) {
            Ok(mut history) if epochs > 0 && history.epochs >= epochs => {
                history.keep_epochs(epochs, steps);
                history
            }
            _ => History::start_late(&network, trainer.weights()?, epochs, steps)?,
        };
        trainer.watch(Watch::new(&network));
        let (sender, receiver) = channel();
        let writer = Writer { run: run.path().to_path_buf(), network, teller, history };
        let writer = thread::Builder::new().name("report".into()).spawn(move || writer.run(&receiver));
        let writer = writer.map_err(|error| Error::Device {
            device: "CPU".into(),
            operation: "starting a thread for the report".into(),
            cause: error.to_string(),
        })?;
        Ok(Reporter { epochs: Some(sender), writer: Some(writer) })
    }

    /// Waits until the report of the last epoch is written.
    ///
    /// # Errors
    /// The first error of writing it, such as [`Error::Io`].
    pub fn finish(&mut self) -> Result<()> {
        self.epochs = None;
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Observer for Reporter {
    fn epoch(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>> {
        if report.evaluation.is_some() {
            let epoch = Epoch {
                losses: report.losses.clone(),
                snapshots: trainer.snapshots().to_vec(),
                weights: trainer.weights()?,
                logits: trainer.answers().to_vec(),
            };
            // If the thread has failed, `finish` says why.
            if let Some(epochs) = &self.epochs {
                _ = epochs.send(epoch);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

struct Writer {
    run: PathBuf,
    network: Network,
    teller: Teller,
    history: History,
}

impl Writer {
    fn run(mut self, epochs: &Receiver<Epoch>) -> Result<()> {
        while let Ok(first) = epochs.recv() {
            let (mut activity, mut logits) = self.add(first)?;
            while let Ok(next) = epochs.try_recv() {
                (activity, logits) = self.add(next)?;
            }
            self.history.save(&self.run.join(HISTORY))?;
            let story = self.teller.story(&self.history, &activity, &logits)?;
            write(&self.run, &story)?;
        }
        Ok(())
    }

    /// Adds an epoch to the history, and returns what the report of it needs: how active the layers were, and the logits.
    fn add(&mut self, epoch: Epoch) -> Result<(Activity, Vec<f32>)> {
        let Epoch { losses, snapshots, weights, logits } = epoch;
        let activity = self.teller.activity(&weights)?;
        self.history.add_epoch(&self.network, &losses, &snapshots, weights, &activity.figures);
        Ok((activity, logits))
    }
}

/// The path of a run's history.
pub fn history_path(run: &RunFolder) -> PathBuf {
    run.path().join(HISTORY)
}

/// Writes the page and the pictures to a run's folder, and returns the path of the page.
///
/// # Errors
/// [`Error::Io`] when a file cannot be written; it is then as it was.
pub fn write(run: &Path, story: &Story) -> Result<PathBuf> {
    let folder = run.join(PICTURES);
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    for (name, png) in pictures(story) {
        write_atomically(&folder.join(name), &png)?;
    }
    let path = run.join(PAGE);
    write_durably(&path, page(story).as_bytes())?;
    Ok(path)
}
