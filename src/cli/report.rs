//! `wgconv report`: the report of a run, made again.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wgconv::Result;
use wgconv::data::{Dataset, HeldOut};
use wgconv::executors::Opened;
use wgconv::network::Network;
use wgconv::report::run::{self, History, OwnImages, Teller, history_path};
use wgconv::train::{Evaluator, RunConfig, RunFolder};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, TuningOptions};
use super::predict::pictures_of;

/// Write the report of a run again: how it learnt, what, and why it answers as it does
#[derive(Args)]
pub struct Report {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Picture files, or folders of them, whose maps are shown instead of those of held-out images: the first 24
    #[arg(long, value_name = "PICTURE", num_args = 1..)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Report {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let (run, config, network) = RunFolder::open(&self.run)?;
        let (files, notes) = pictures_of(&self.images)?;
        notes.iter().try_for_each(|note| self.output.say(format_args!("note: {note}")))?;
        let own = match files.is_empty() {
            true => None,
            false => Some(OwnImages::open(&config, files.iter().map(PathBuf::as_path))?),
        };
        let history = self.history(&run, &network)?;
        let held_out = match config.measured(None, None, None) {
            Ok(measured) => {
                let set = if measured.part == "validation" { HeldOut::Validation } else { HeldOut::Test };
                Some((set, measured.data))
            }
            Err(error) => {
                self.output.say(format_args!("warning: without the run's images: {error}"))?;
                None
            }
        };
        let last = history.weights.last_key_value().map(|(_, weights)| weights.clone()).unwrap_or_default();
        let logits = match &held_out {
            Some((set, images)) => self.logits(&config, &network, &last, *set, images)?,
            None => Vec::new(),
        };
        let mut teller = Teller::new(&run, &config, &network, held_out, own)?;
        let activity = teller.activity(&last)?;
        let path = run::write(run.path(), &teller.story(&history, &activity, &logits)?)?;
        self.output.say(format_args!("report: {}", path.display()))?;
        self.output.json(&json!({ "report": path }))?;
        Ok(Outcome::Done)
    }

    /// The history that the training has written; of a run without one, its last weights.
    fn history(&self, run: &RunFolder, network: &Network) -> Result<History> {
        let path: &Path = &history_path(run);
        if path.exists() {
            return History::load(path, network);
        }
        self.output.say("note: the run was trained without a report, so that only its end is known")?;
        let mut history = History::start(network, run.load("last", network)?)?;
        history.moments.iter_mut().for_each(|moment| moment.name = "end".into());
        Ok(history)
    }

    /// The logits of all held-out images.
    fn logits(
        &self,
        config: &RunConfig,
        network: &Network,
        weights: &wgconv::network::Weights,
        set: HeldOut,
        images: &Dataset,
    ) -> Result<Vec<f32>> {
        let Opened { mut executor, reason } = self.device.open_tuned(self.tuning)?;
        self.output.say(format_args!("device: {reason}"))?;
        let executor = executor.as_mut();
        let batch_size = config.training.batch_size.min(images.len());
        let normalisation = &config.preprocessing.normalisation;
        let evaluator = Evaluator::new(executor, network, (set, images), normalisation, batch_size)?;
        evaluator.set_weights(executor, network, weights)?;
        Ok(evaluator.answers(executor)?.1)
    }
}
