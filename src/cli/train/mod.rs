//! `wgconv train`: from images to a trained network.

mod display;
mod settings;

use std::path::{Path, PathBuf};

use clap::Args;
use wgconv::data::{self, DataSplits};
use wgconv::executors::Opened;
use wgconv::network::{self, Adopted, Network};
use wgconv::plan::{Executor, Memory};
use wgconv::report::summary;
use wgconv::train::{
    Basis, EarlyStopping, Recorder, RunConfig, RunFolder, TrainSettings, Trainer, load_any_weights,
};
use wgconv::{Error, Result};

use self::display::Display;
use self::settings::SettingsOptions;
use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, TuningOptions, quoted};

/// Train a network on labelled images
// A negative number is refused as such, not as an unknown option.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Train {
    /// Images: `synthetic` (built-in digits), or a folder of IDX files, CIFAR binaries, or train/CLASS/*.png|jpg
    /// [default: synthetic]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Network: lenet, vgg-mini, linear, or a .toml file [default: lenet]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
    /// Use only the first N images of the training set and of the test set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Stop when the test accuracy has not become better for N epochs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Start from the weights of this safetensors file, as far as their names and shapes fit
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Do not take the weights of names like this from --from (`*` stands for any characters)
    #[arg(long, value_name = "PATTERN", requires = "from")]
    reinit: Vec<String>,
    /// Go on with the run in this folder, where it was stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "limit", "out"])]
    resume: Option<PathBuf>,
    /// Go on though model, data or settings are not those that the run was stopped with
    #[arg(long, requires = "resume")]
    force: bool,
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

/// A training that is about to begin.
struct Job {
    network: Network,
    data: DataSplits,
    /// Where the data come from, as it was typed.
    source: String,
    limit: Option<usize>,
    settings: TrainSettings,
}

impl Train {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        match &self.resume {
            Some(run) => self.resume(run),
            None => self.start(),
        }
    }

    fn start(&self) -> Result<Outcome> {
        match &self.out {
            Some(out) => RunFolder::check(out)?,
            None => RunFolder::check_next_free()?,
        }
        let settings = self.settings.over(TrainSettings::default())?;
        let limit = self.limit.map(|limit| limit as usize);
        let source = self.data.clone().unwrap_or_else(|| "synthetic".into());
        let data = data::load_first(&source, settings.seed, limit.unwrap_or(usize::MAX))?;
        let model = self.model.as_deref().unwrap_or("lenet");
        let network = network::load(model, data.train.image, data.train.classes.len())?;
        let weights =
            self.from.as_deref().map(|path| self.adopted(path, &network, settings.seed)).transpose()?;
        let job = Job { network, data, source, limit, settings };

        let (mut trainer, device) = self.trainer(&job)?;
        if let (Some((weights, adopted)), Some(path)) = (weights, &self.from) {
            self.say_adopted(path, &adopted)?;
            trainer.set_weights(&weights)?;
        }
        let config = job.config(device, &trainer)?;
        let path = self.out.clone().unwrap_or_else(|| RunFolder::next_free(trainer.network().name()));
        let run = RunFolder::create(&path, &config, trainer.network())?;
        let recorder = Recorder::new(run, job.basis());
        self.train(trainer, recorder, job)
    }

    fn resume(&self, path: &Path) -> Result<Outcome> {
        let (run, before, network) = RunFolder::open(path)?;
        let state = run.load_state()?;
        let settings = self.settings.over(before.training)?;
        let source = self.data.clone().unwrap_or(before.data);
        let data = data::load_first(&source, settings.seed, before.limit.unwrap_or(usize::MAX))?;
        network.check_data(data.train.image, data.train.classes.len())?;
        let job = Job { network, data, source, limit: before.limit, settings };
        let basis = job.basis();
        let differences = state.basis.differences(&basis);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            if !self.force {
                let expected = "what the run was stopped with (--force goes on all the same)";
                return Err(Error::invalid("--resume", expected, format!("other: {differences}")));
            }
            self.output.say(format_args!("other than when the run was stopped: {differences}"))?;
        }
        if state.epochs >= job.settings.epochs {
            let expected = format!("more epochs than the {} that are done", state.epochs);
            return Err(Error::invalid("--epochs", expected, job.settings.epochs));
        }

        let (mut trainer, device) = self.trainer(&job)?;
        trainer.restore(&state)?;
        run.set_config(&job.config(device, &trainer)?)?;
        let recorder = Recorder::resume(run, basis, &state)?;
        self.output.say(format_args!("resumed after step {}", trainer.steps_done()))?;
        self.train(trainer, recorder, job)
    }

    /// The network's initial weights, with those of a file in their places.
    fn adopted(
        &self,
        path: &Path,
        network: &Network,
        seed: u64,
    ) -> Result<(wgconv::network::Weights, Adopted)> {
        let mut weights = network.initial_weights(seed)?;
        let adopted = weights.adopt(&load_any_weights(path)?, &self.reinit);
        if adopted.taken.is_empty() {
            let names: Vec<&str> = network.variables().map(|variable| variable.name.as_str()).collect();
            let expected = format!("one of the weights {}, in its shape", names.join(", "));
            let found = if adopted.left.is_empty() { adopted.kept } else { adopted.left };
            return Err(Error::file(path, expected, found.join(", ")));
        }
        Ok((weights, adopted))
    }

    fn say_adopted(&self, path: &Path, adopted: &Adopted) -> Result<()> {
        let Adopted { taken, kept, left } = adopted;
        self.output.say(format_args!("from {}: {} taken", path.display(), taken.join(", ")))?;
        if !kept.is_empty() {
            self.output.say(format_args!("not taken, and initialised anew: {}", kept.join(", ")))?;
        }
        if !left.is_empty() {
            self.output.say(format_args!("not in this network: {}", left.join(", ")))?;
        }
        Ok(())
    }

    /// A trainer on the device that was asked for, and the device's name; what is about to be trained is told.
    fn trainer(&self, job: &Job) -> Result<(Trainer, String)> {
        let Opened { executor, reason } = self.device.open_tuned(self.tuning)?;
        let device = executor.device_name();
        let Job { network, data, settings, .. } = job;
        let memory = Trainer::memory(executor.as_ref(), network, data, settings)?;
        let output = self.output;
        output.say(format_args!("device: {reason}"))?;
        output.say(format_args!(
            "data: {}, {} training and {} test images of {}, {} classes",
            data.name,
            data.train.len(),
            data.test.len(),
            data.train.image,
            data.train.classes.len()
        ))?;
        output.say_table(&summary(network))?;
        output.say("")?;
        output.say(format_args!("memory: {memory}{}", limit(executor.as_ref(), &memory)))?;
        Ok((Trainer::new(executor, network.clone(), data, settings.clone())?, device))
    }

    fn train(&self, mut trainer: Trainer, mut recorder: Recorder, job: Job) -> Result<Outcome> {
        let output = self.output;
        let path = recorder.run().path().display().to_string();
        output.say(format_args!("results: {path}"))?;
        output.say("")?;
        // The executor holds the images.
        drop(job);
        let mut display = Display::start(output)?;
        let mut patience =
            self.patience.map(|patience| EarlyStopping::new(patience as usize, recorder.best()));
        let mut observers: Vec<&mut dyn wgconv::train::Observer> = vec![&mut recorder, &mut display];
        observers.extend(patience.iter_mut().map(|patience| patience as &mut dyn wgconv::train::Observer));
        trainer.run(&mut observers)?;
        if let Some(step) = display.stopped_at {
            output.say(format_args!(
                "stopped at step {step}; the weights are saved, `wgconv train --resume {}` goes on",
                quoted(&path)
            ))?;
            return Ok(Outcome::Interrupted);
        }
        output.say("")?;
        if trainer.epochs_done() < trainer.settings().epochs {
            let epochs = trainer.epochs_done();
            output.say(format_args!("stopped early after epoch {epochs}, which was no better"))?;
        }
        output.say(format_args!(
            "best test accuracy {:.2} %; `wgconv evaluate {}` measures it again",
            100.0 * recorder.best().map_or(0.0, |best| best.test.accuracy()),
            quoted(&path)
        ))?;
        Ok(Outcome::Done)
    }
}

impl Job {
    fn basis(&self) -> Basis {
        Basis::new(&self.network, &self.settings, &self.data)
    }

    fn config(&self, device: String, trainer: &Trainer) -> Result<RunConfig> {
        let image = self.data.train.image;
        Ok(RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            data: data::absolute(&self.source)?,
            device,
            limit: self.limit,
            image: [image.channels, image.height, image.width],
            classes: self.data.train.classes.clone(),
            training: self.settings.clone(),
            normalisation: trainer.normalisation().clone(),
        })
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
