//! `wgconv train`: from images to a trained network.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wgconv::data::{self, DataSplits};
use wgconv::executors::Opened;
use wgconv::network;
use wgconv::plan::{Executor, Memory};
use wgconv::report::summary;
use wgconv::train::{EpochReport, Evaluation, Progress, RunConfig, RunFolder, TrainSettings, Trainer};
use wgconv::{Error, Result};

use super::Outcome;
use super::interrupt::Interrupt;
use super::options::{DeviceOptions, OutputOptions, TuningOptions, note, quoted};

/// Train a network on labelled images
// A negative number is refused as such, not as an unknown option.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Train {
    /// Images: `synthetic` (built-in digits), or a folder of IDX files, CIFAR binaries, or train/CLASS/*.png|jpg
    #[arg(long, value_name = "DATA", default_value = "synthetic")]
    data: String,
    /// Network: lenet, vgg-mini, linear, or a .toml file
    #[arg(long, value_name = "MODEL", default_value = "lenet")]
    model: String,
    /// Times to go through the training set
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().batch_size)]
    batch_size: usize,
    /// Rule that turns gradients into steps
    #[arg(long, value_name = "NAME", default_value = "sgd", value_parser = ["sgd"])]
    optimizer: String,
    /// Length of a step along the gradient
    #[arg(long, value_name = "X", default_value_t = TrainSettings::default().learning_rate)]
    learning_rate: f32,
    /// Part of the last step that goes into the next one, from 0 to below 1
    #[arg(long, value_name = "X", default_value_t = TrainSettings::default().momentum)]
    momentum: f32,
    /// Look ahead along the momentum (Nesterov's method)
    #[arg(long)]
    nesterov: bool,
    /// Pull of every parameter towards zero
    #[arg(long, value_name = "X", default_value_t = TrainSettings::default().weight_decay)]
    weight_decay: f32,
    /// Start of all chance: initial weights, order of the images, synthetic digits
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().seed)]
    seed: u64,
    /// Use only the first N images of the training set and of the test set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Folder for the results, which must not exist yet [default: runs/MODEL-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Train {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let settings = self.settings();
        match &self.out {
            Some(out) => RunFolder::check(out)?,
            None => RunFolder::check_next_free()?,
        }
        let data = data::load_first(&self.data, self.seed, self.limit().unwrap_or(usize::MAX))?;
        let image = data.train.image;
        let network = network::load(&self.model, image, data.train.classes.len())?;
        let Opened { executor, reason } = self.device.open_tuned(self.tuning)?;
        let device_name = executor.device_name();
        let memory = Trainer::memory(executor.as_ref(), &network, &data, &settings)?;

        let output = self.output;
        output.say(format_args!("device: {reason}"))?;
        let (train, test) = (data.train.len(), data.test.len());
        output.say(format_args!(
            "data: {}, {train} training and {test} test images of {image}, {} classes",
            data.name,
            data.train.classes.len()
        ))?;
        output.say_table(&summary(&network))?;
        output.say("")?;
        output.say(format_args!("memory: {memory}{}", limit(executor.as_ref(), &memory)))?;

        let mut trainer = Trainer::new(executor, network, &data, settings)?;
        let config = self.config(&data, device_name, &trainer)?;
        let path = self.out.clone().unwrap_or_else(|| RunFolder::next_free(trainer.network().name()));
        let run = RunFolder::create(&path, &config, trainer.network())?;
        output.say(format_args!("results: {}", path.display()))?;
        output.say("")?;
        drop(data);
        self.run_epochs(&mut trainer, run)
    }

    fn settings(&self) -> TrainSettings {
        TrainSettings {
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            seed: self.seed,
        }
    }

    fn limit(&self) -> Option<usize> {
        self.limit.map(|limit| limit as usize)
    }

    fn config(&self, data: &DataSplits, device: String, trainer: &Trainer) -> Result<RunConfig> {
        let image = data.train.image;
        Ok(RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            data: data::absolute(&self.data)?,
            device,
            epochs: self.epochs as usize,
            limit: self.limit(),
            image: [image.channels, image.height, image.width],
            classes: data.train.classes.clone(),
            training: self.settings(),
            normalisation: trainer.normalisation().clone(),
        })
    }

    fn run_epochs(&self, trainer: &mut Trainer, mut run: RunFolder) -> Result<Outcome> {
        let interrupt = Interrupt::listen();
        let output = self.output;
        output.say("epoch  train loss  test loss  test accuracy  images/s  seconds")?;
        let mut best: Option<Evaluation> = None;
        for _ in 0..self.epochs {
            let mut display = ProgressDisplay::new();
            let watch = |progress: &Progress| {
                display.show(progress);
                if interrupt.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let report = trainer.run_epoch(watch);
            display.clear();
            let report = match report {
                Ok(report) => report,
                Err(Error::NotFinite { what, loss, place }) => {
                    // A bad step changes no weight, so there is something to look at, but nothing that should
                    // replace what an epoch left whose losses were finite.
                    let saved = match run.has("last") {
                        true => "these weights are not saved, last.safetensors is that of the epoch before",
                        false => match save(trainer, &run, "last") {
                            Ok(()) => "the weights are finite, and saved",
                            Err(Error::WeightsNotFinite { .. }) => "these weights are not saved",
                            Err(error) => return Err(error),
                        },
                    };
                    return Err(Error::NotFinite { what, loss, place: format!("{place}; {saved}") });
                }
                Err(error) => return Err(error),
            };
            save(trainer, &run, "last")?;
            let Some(test) = report.test else {
                return self.stopped(&report);
            };
            if best.is_none_or(|best| (test.correct, -test.loss) > (best.correct, -best.loss)) {
                best = Some(test);
                save(trainer, &run, "best")?;
            }
            output.say(row(&report, &test))?;
            let line = metrics(&report, &test);
            run.log(&line)?;
            output.json(&line)?;
            if interrupt.asked() {
                return self.stopped(&report);
            }
        }
        let best = best.map_or(0.0, |best| best.accuracy());
        let path = run.path().display().to_string();
        output.say("")?;
        output.say(format_args!(
            "best test accuracy {:.2} %; `wgconv evaluate {}` measures it again",
            100.0 * best,
            quoted(&path)
        ))?;
        Ok(Outcome::Done)
    }

    fn stopped(&self, report: &EpochReport) -> Result<Outcome> {
        self.output.say(format_args!("stopped at step {}; the weights are saved", report.step))?;
        Ok(Outcome::Interrupted)
    }
}

/// The largest buffer beside the device's limit, where it has one.
fn limit(executor: &dyn Executor, memory: &Memory) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match executor.max_buffer_bytes() {
        u64::MAX => String::new(),
        limit => format!("; largest buffer {:.1} of at most {:.0} MiB", mib(memory.largest), mib(limit)),
    }
}

fn save(trainer: &mut Trainer, run: &RunFolder, name: &str) -> Result<()> {
    let weights = trainer.weights()?;
    run.save(name, trainer.network(), &weights).map_err(|error| match error {
        Error::WeightsNotFinite { what, place } => {
            let what = format!("{what} after step {}", trainer.steps_done().saturating_sub(1));
            Error::WeightsNotFinite { what, place: format!("{place}; try a smaller learning rate") }
        }
        other => other,
    })
}

fn row(report: &EpochReport, test: &Evaluation) -> String {
    format!(
        "{:>5}  {:>10.4}  {:>9.4}  {:>11.2} %  {:>8.0}  {:>7.1}",
        report.epoch,
        report.train_loss(),
        test.loss,
        100.0 * test.accuracy(),
        report.images_per_s,
        report.time.as_secs_f64()
    )
}

fn metrics(report: &EpochReport, test: &Evaluation) -> serde_json::Value {
    json!({
        "epoch": report.epoch,
        "step": report.step,
        "train/loss": report.train_loss(),
        "test/loss": test.loss,
        "test/accuracy": test.accuracy(),
        "images_per_s": report.images_per_s,
        "seconds": report.time.as_secs_f64(),
    })
}

/// How far an epoch is: a bar on a terminal, a line every few seconds elsewhere.
enum ProgressDisplay {
    Bar(ProgressBar),
    Lines { last: Instant },
}

const TIME_BETWEEN_LINES: Duration = Duration::from_secs(5);

impl ProgressDisplay {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return ProgressDisplay::Lines { last: Instant::now() };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {msg}, {eta} left")
            .expect("a template");
        ProgressDisplay::Bar(ProgressBar::new(0).with_style(style))
    }

    fn show(&mut self, progress: &Progress) {
        let figures = format!("loss {:.4}, {:.0} images/s", progress.loss, progress.images_per_s);
        match self {
            ProgressDisplay::Bar(bar) => {
                bar.set_length(progress.steps as u64);
                bar.set_position(progress.done as u64);
                bar.set_message(figures);
            }
            ProgressDisplay::Lines { last } if last.elapsed() >= TIME_BETWEEN_LINES => {
                note(format_args!("step {}/{}, {figures}", progress.done, progress.steps));
                *last = Instant::now();
            }
            ProgressDisplay::Lines { .. } => {}
        }
    }

    fn clear(&self) {
        if let ProgressDisplay::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
