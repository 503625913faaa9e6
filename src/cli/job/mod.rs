//! The training that a user asks for: the options that all commands which train share.

mod settings;

use clap::Args;
use wgconv::Result;
use wgconv::data::{self, DataSplits};
use wgconv::executors::Opened;
use wgconv::network::{self, Network};
use wgconv::plan::{Executor, Memory};
use wgconv::report::summary;
use wgconv::train::{Basis, RunConfig, TrainSettings, Trainer};

use self::settings::SettingsOptions;
use super::options::{DeviceOptions, OutputOptions, TuningOptions};

/// What to train, on which data, with which settings and on which device.
#[derive(Args, Debug)]
pub struct JobOptions {
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
    #[command(flatten)]
    pub device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// A training that is about to begin.
pub struct Job {
    pub network: Network,
    pub data: DataSplits,
    /// The source of the data, as the user typed it.
    source: String,
    limit: Option<usize>,
    pub settings: TrainSettings,
}

impl JobOptions {
    /// Whether the number of epochs is given.
    pub fn asks_for_epochs(&self) -> bool {
        self.settings.epochs.is_some()
    }

    /// The training that the options ask for.
    pub fn job(&self) -> Result<Job> {
        let settings = self.settings.over(TrainSettings::default())?;
        let limit = self.limit.map(|limit| limit as usize);
        let source = self.data.clone().unwrap_or_else(|| "synthetic".into());
        let data = data::load_first(&source, settings.seed, limit.unwrap_or(usize::MAX))?;
        let model = self.model.as_deref().unwrap_or("lenet");
        let network = network::load(model, data.train.image, data.train.classes.len())?;
        Ok(Job { network, data, source, limit, settings })
    }

    /// The training of an earlier run, modified by the options.
    pub fn job_like(&self, before: RunConfig, network: Network) -> Result<Job> {
        let RunConfig { data: source, limit, training, .. } = before;
        let settings = self.settings.over(training)?;
        let source = self.data.clone().unwrap_or(source);
        let data = data::load_first(&source, settings.seed, limit.unwrap_or(usize::MAX))?;
        network.check_data(data.train.image, data.train.classes.len())?;
        Ok(Job { network, data, source, limit, settings })
    }

    /// Prints what is about to be trained, and returns a trainer on the requested device and the device's name.
    pub fn trainer(&self, job: &Job) -> Result<(Trainer, String)> {
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
}

impl Job {
    /// The basis of the run.
    pub fn basis(&self) -> Basis {
        Basis::new(&self.network, &self.settings, &self.data)
    }

    /// The configuration to store in the run's folder.
    pub fn config(&self, device: String, trainer: &Trainer) -> Result<RunConfig> {
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

/// The size of the largest buffer and the device's limit, if it has one.
fn limit(executor: &dyn Executor, memory: &Memory) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match executor.max_buffer_bytes() {
        u64::MAX => String::new(),
        limit => format!("; largest buffer {:.1} of at most {:.0} MiB", mib(memory.largest), mib(limit)),
    }
}
