//! The training that a user asks for: the options that all commands which train share.

mod data;
mod settings;

use clap::Args;
use wgconv::data::{self as sources, DataSplits, LoadOptions};
use wgconv::executors::Opened;
use wgconv::files::CacheFolder;
use wgconv::network::{self, Network};
use wgconv::plan::{Executor, Memory};
use wgconv::report::summary;
use wgconv::train::{Basis, Precision, Recipe, RunConfig, TrainSettings, Trainer};
use wgconv::{Error, Result};

use self::data::DataOptions;
pub use self::data::PreparationOptions;
use self::settings::SettingsOptions;
use super::options::{DeviceOptions, OutputOptions, TuningOptions};

/// What to train, on which data, with which settings and on which device.
#[derive(Args, Debug)]
pub struct JobOptions {
    #[command(flatten)]
    data: DataOptions,
    /// Network and settings at once: mnist-fast, mnist-best, cifar-fast-small, cifar-fast, a .toml file, or a run's config.toml;
    /// other options change them [default: mnist-fast for the built-in digits, unless there is a model]
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// Network: a name that `wgconv models` lists, or a .toml file [default: lenet]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
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
    /// How they were loaded.
    loaded: LoadOptions,
    pub settings: TrainSettings,
}

impl JobOptions {
    /// Whether the number of epochs is given.
    pub fn asks_for_epochs(&self) -> bool {
        self.settings.epochs.is_some()
    }

    /// The recipe that is asked for, or that fits the built-in digits, on which a user without data tries wgconv.
    fn recipe(&self) -> Option<&str> {
        let has_digits = self.data.data.as_deref().is_none_or(|data| data == "synthetic");
        self.recipe.as_deref().or((has_digits && self.model.is_none()).then_some("mnist-fast"))
    }

    /// The training that the options ask for.
    pub fn job(&self) -> Result<Job> {
        let recipe = self.recipe().map(Recipe::open).transpose()?;
        let recipe = recipe.unwrap_or(Recipe { model: None, training: TrainSettings::default() });
        let mut settings = self.settings.over(recipe.training)?;
        let loaded = self.data.preparation.load_options(settings.seed)?;
        let source = self.data.data.clone().unwrap_or_else(|| "synthetic".into());
        let mut data = sources::load(&source, &loaded)?;
        let images = data.train.len();
        if !self.settings.asks_for_batch_size() && images < settings.batch_size {
            settings.batch_size = images;
            data.notes.push(format!("a batch holds all {images} training images, since there are no more"));
        }
        let model = self.model.as_deref().or(recipe.model.as_deref()).unwrap_or("lenet");
        let network = network::load(model, data.train.image, data.train.classes.len())?;
        Ok(Job { network, data, source, loaded, settings })
    }

    /// The training of an earlier run, modified by the options; images are prepared as the run's were.
    pub fn job_like(&self, before: RunConfig, network: Network) -> Result<Job> {
        if self.recipe.is_some() {
            let expected = "no recipe with --resume, since the run says how it is trained";
            return Err(Error::invalid("--recipe", expected, "one"));
        }
        if let Some(option) = self.data.preparation.first_given() {
            let expected = "no such option with --resume, since the run says how its images are prepared";
            return Err(Error::invalid(option, expected, "one"));
        }
        let settings = self.settings.over(before.training.clone())?;
        let loaded =
            LoadOptions { seed: settings.seed, cache: CacheFolder::of_user(), ..before.load_options() };
        let RunConfig { data: source, classes, preprocessing, .. } = before;
        let source = self.data.data.clone().unwrap_or(source);
        let mut data = sources::load(&source, &loaded)?;
        network.check_data(data.train.image, data.train.classes.len())?;
        if data.train.classes != classes {
            let expected = format!("the run's classes, {}", classes.join(", "));
            return Err(Error::invalid("data", expected, data.train.classes.join(", ")));
        }
        data.preprocessing = preprocessing;
        Ok(Job { network, data, source, loaded, settings })
    }

    /// Prints what is about to be trained, and returns a trainer on the requested device and the device's name.
    pub fn trainer(&self, job: &Job) -> Result<(Trainer, String)> {
        let Opened { executor, reason } = self.device.open_tuned(self.tuning)?;
        let device = executor.device_name();
        let Job { network, data, settings, .. } = job;
        let memory = Trainer::memory(executor.as_ref(), network, data, settings)?;
        let output = self.output;
        output.say(format_args!("device: {reason}"))?;
        if settings.precision == Precision::Mixed {
            let precision = match executor.stores_halves() {
                true => "mixed, outputs of layers and their gradients in f16",
                false => "f32, since this device stores no f16",
            };
            output.say(format_args!("precision: {precision}"))?;
        }
        output.say(format_args!("data: {}", described(data)))?;
        for note in &data.notes {
            output.say(format_args!("note: {note}"))?;
        }
        let unused = data.unused(settings.batch_size);
        for warning in data.warnings.iter().chain(&unused) {
            output.say(format_args!("warning: {warning}"))?;
        }
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
    pub fn config(&self, device: String) -> Result<RunConfig> {
        let LoadOptions { limit, validation, labels, skip_broken, .. } = self.loaded.clone();
        Ok(RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            data: sources::absolute(&self.source)?,
            device,
            limit,
            validation,
            labels: labels.map(|labels| sources::absolute_labels(&self.source, &labels)).transpose()?,
            skip_broken,
            classes: self.data.train.classes.clone(),
            preprocessing: self.data.preprocessing.clone(),
            training: self.settings.clone(),
        })
    }
}

/// The data in a few words: `mine, 60 training and 12 test images of 28x28x1, 10 classes`.
pub fn described(data: &DataSplits) -> String {
    let parts = data.parts().map(|(name, part)| format!("{} {name}", part.len()));
    let parts: Vec<String> = parts.collect();
    let parts = match parts.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        all => all.join(""),
    };
    let DataSplits { name, train, .. } = data;
    format!("{name}, {parts} images of {}, {} classes", train.image, train.classes.len())
}

/// The size of the largest buffer and the device's limit, if it has one.
fn limit(executor: &dyn Executor, memory: &Memory) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match executor.max_buffer_bytes() {
        u64::MAX => String::new(),
        limit => format!("; largest buffer {:.1} of at most {:.0} MiB", mib(memory.largest), mib(limit)),
    }
}
