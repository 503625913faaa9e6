//! `wgconv evaluate`: loss and accuracy of a run's weights.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use wgconv::data;
use wgconv::executors::Opened;
use wgconv::train::{Evaluator, RunFolder};
use wgconv::{Error, Result};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, TuningOptions};

/// Measure the weights of a run on a test set
#[derive(Args)]
pub struct Evaluate {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// `synthetic` or a folder [default: the data that the run was trained on]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Which of the run's weights; ema are the moving averages of train --ema [default: best, or last if there is no best]
    #[arg(long, value_parser = ["best", "last", "ema"])]
    weights: Option<String>,
    /// Images in a batch [default: the run's, or all if there are fewer]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Use only the first N images [default: the run's limit, unless --data is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Evaluate {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let (run, config, network) = RunFolder::open(&self.run)?;
        let weights = self.weights.as_deref().unwrap_or(if run.has("best") { "best" } else { "last" });
        let values = run.load(weights, &network)?;
        let (source, limit) = match &self.data {
            Some(data) => (data, None),
            None => (&config.data, config.limit),
        };
        let limit = self.limit.map(|limit| limit as usize).or(limit).unwrap_or(usize::MAX);
        let test = data::load_first(source, config.training.seed, limit)?.test;
        network.check_data(test.image, test.classes.len())?;
        let batch_size = self.batch_size.unwrap_or(config.training.batch_size.min(test.len()));
        if !(1..=test.len()).contains(&batch_size) {
            return Err(Error::invalid(
                "batch size",
                format!("1 to the {} test images", test.len()),
                batch_size,
            ));
        }
        let Opened { mut executor, reason } = self.device.open_tuned(self.tuning)?;
        self.output.say(format_args!("device: {reason}"))?;

        let executor = executor.as_mut();
        let evaluator = Evaluator::new(executor, &network, &test, &config.normalisation, batch_size)?;
        evaluator.set_weights(executor, &network, &values)?;
        let start = Instant::now();
        let result = evaluator.evaluate(executor)?;
        let seconds = start.elapsed().as_secs_f64();
        self.output.say(format_args!(
            "test loss {:.4}, test accuracy {:.2} % ({} of {}), {seconds:.1} s",
            result.loss,
            100.0 * result.accuracy(),
            result.correct,
            result.images
        ))?;
        self.output.json(&json!({
            "test/loss": result.loss,
            "test/accuracy": result.accuracy(),
            "images": result.images,
            "seconds": seconds,
        }))?;
        Ok(Outcome::Done)
    }
}
