//! The options that say how a network is trained.

use std::fmt::Display;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use toml::{Table, Value};
use wgconv::ops::optimizer::{Groups, Optimizer};
use wgconv::train::{Augmentation, ClassWeights, FreezeAfter, Lookahead, Precision, Schedule, TrainSettings};
use wgconv::{Error, Result};

/// How to train. An option without a value is that of [`TrainSettings::default`], or of the run that is resumed.
#[derive(Args, Clone, Debug)]
pub struct SettingsOptions {
    /// Number of passes over the training set [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Images in a batch [default: 64, or all if there are fewer]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// How outputs of layers and their gradients are stored: in f32, or in f16 on GPUs that support it [default: f32]
    #[arg(long, value_name = "NAME", value_parser = precisions())]
    precision: Option<Precision>,
    /// Rule that turns gradients into steps [default: sgd]
    #[arg(long, value_name = "NAME", value_parser = optimizers())]
    optimizer: Option<Optimizer>,
    /// Learning rate at the schedule's peak [default: 0.02 for sgd, otherwise the optimizer's own]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// sgd, rmsprop: momentum, from 0 to below 1 [default: 0.9, rmsprop 0]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,
    /// sgd: look ahead along the momentum (Nesterov's method)
    #[arg(long)]
    nesterov: bool,
    /// adam, adamw, lion: decay rates of the averages [default: 0.9,0.999; lion 0.9,0.99]
    #[arg(long, value_name = "X,X", value_parser = pair)]
    betas: Option<[f64; 2]>,
    /// Weight decay: added to the gradient, or decoupled from it with adamw and lion [default: 0]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f32>,
    /// Weight decay of biases and norms [default: that of --weight-decay]
    #[arg(long, value_name = "X")]
    bias_decay: Option<f32>,
    /// Scale the gradients down if their common norm exceeds this
    #[arg(long, value_name = "X")]
    clip_norm: Option<f32>,
    /// Also keep a moving average of the weights, of which each step keeps this share, such as 0.999
    #[arg(long, value_name = "X")]
    ema: Option<f32>,
    /// Let the weights return now and then to slower averages of themselves, as a list of every=STEPS,kept=SHARE,power=X
    #[arg(long, value_name = "LIST")]
    lookahead: Option<Lookahead>,
    /// Share of every label that is spread over all classes, from 0 to below 1 [default: 0]
    #[arg(long, value_name = "X")]
    label_smoothing: Option<f32>,
    /// Weight of each class in the loss: with `balanced`, rarer classes weigh more [default: all the same]
    #[arg(long, value_name = "HOW", value_parser = ["balanced"])]
    class_weights: Option<String>,
    /// How training images are varied, as a list of crop=PIXELS, padding=zero|reflect, flip[=alternating], vertical_flip,
    /// rotate=DEGREES, scale=X, brightness=X, contrast=X, cutout=PIXELS, mixup=X, cutmix=X; or none [default: none]
    #[arg(long, value_name = "LIST")]
    augment: Option<Augmentation>,
    /// How the learning rate changes [default: constant]
    #[arg(long, value_name = "NAME", value_parser = schedules())]
    schedule: Option<Schedule>,
    /// Share of the run in which the learning rate rises to its peak, from 0 to below 1 [default: 0; one_cycle 0.3]
    #[arg(long, value_name = "X")]
    warmup: Option<f64>,
    /// Do not train weights whose names match this (`*` stands for any characters)
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Train weights whose names match these in the first epochs alone, such as 3:conv1.bias,conv2.*
    #[arg(long, value_name = "EPOCHS:PATTERNS")]
    freeze_after: Option<FreezeAfter>,
    /// Set any key of a recipe's [training] table, such as schedule.end=0.05 or groups.norm.rate_factor=2
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of all random numbers: initial weights, order of the images, synthetic digits [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Two numbers with a comma between them.
fn pair(text: &str) -> std::result::Result<[f64; 2], String> {
    let numbers = text
        .split_once(',')
        .and_then(|(first, second)| Some([first.trim().parse().ok()?, second.trim().parse().ok()?]));
    numbers.ok_or_else(|| "expected two numbers with a comma between them, such as 0.9,0.99".into())
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES).map(|name| name.parse().expect("one of the names"))
}

fn optimizers() -> impl TypedValueParser<Value = Optimizer> {
    let names: Vec<&'static str> = Optimizer::all().iter().map(|optimizer| optimizer.name()).collect();
    PossibleValuesParser::new(names).map(|name| name.parse().expect("one of the names"))
}

fn schedules() -> impl TypedValueParser<Value = Schedule> {
    PossibleValuesParser::new(Schedule::NAMES).map(|name| name.parse().expect("one of the names"))
}

impl SettingsOptions {
    /// Whether the batch size is given.
    pub fn asks_for_batch_size(&self) -> bool {
        self.batch_size.is_some()
    }

    /// `base`, modified by the options.
    pub fn over(&self, base: TrainSettings) -> Result<TrainSettings> {
        let optimizer = self.optimizer(base.optimizer)?;
        let is_another = optimizer.name() != base.optimizer.name();
        let usual_rate = if is_another { optimizer.usual_learning_rate() } else { base.learning_rate };
        let schedule = self.schedule.clone().unwrap_or(base.schedule);
        let settings = TrainSettings {
            epochs: self.epochs.map_or(base.epochs, |epochs| epochs as usize),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            precision: self.precision.unwrap_or(base.precision),
            seed: self.seed.unwrap_or(base.seed),
            learning_rate: self.learning_rate.unwrap_or(usual_rate),
            clip_norm: self.clip_norm.or(base.clip_norm),
            // Either takes the place of the other.
            ema: self.ema.or(base.ema.filter(|_| self.lookahead.is_none())),
            lookahead: self.lookahead.or(base.lookahead.filter(|_| self.ema.is_none())),
            label_smoothing: self.label_smoothing.unwrap_or(base.label_smoothing),
            class_weights: match &self.class_weights {
                Some(_) => Some(ClassWeights::Balanced),
                None => base.class_weights,
            },
            augment: self.augment.clone().unwrap_or(base.augment),
            freeze_after: self.freeze_after.clone().or(base.freeze_after),
            freeze: if self.freeze.is_empty() { base.freeze } else { self.freeze.clone() },
            optimizer,
            schedule: match self.warmup {
                Some(warmup) => schedule.with_warmup(warmup),
                None => schedule,
            },
            groups: self.groups(base.groups),
        };
        self.set.iter().try_fold(settings, |settings, assignment| set(settings, assignment))
    }

    fn groups(&self, mut groups: Groups) -> Groups {
        if let Some(decay) = self.weight_decay {
            groups.weight.weight_decay = decay;
        }
        if let Some(decay) = self.bias_decay.or(self.weight_decay) {
            groups.bias.weight_decay = decay;
            groups.norm.weight_decay = decay;
        }
        groups
    }

    /// The optimizer with the given settings, each of which must be one of its own.
    fn optimizer(&self, base: Optimizer) -> Result<Optimizer> {
        let optimizer = self.optimizer.filter(|asked| asked.name() != base.name()).unwrap_or(base);
        let mut table = Table::try_from(optimizer).expect("an optimizer is a table");
        let betas = self.betas.map(|betas| Value::from(betas.to_vec()));
        for (key, value) in [
            ("momentum", self.momentum.map(Value::from)),
            ("nesterov", self.nesterov.then_some(Value::from(true))),
            ("betas", betas),
        ] {
            let Some(value) = value else { continue };
            if !table.contains_key(key) {
                let expected = format!("an optimizer that has {key}");
                return Err(Error::invalid(format!("--{key}"), expected, optimizer.name()));
            }
            table.insert(key.into(), value);
        }
        table.try_into().map_err(|error: toml::de::Error| {
            Error::invalid("optimizer", "settings of its kind", error.message())
        })
    }
}

/// The settings with one key set, `schedule.end=0.05`: the value is TOML, or a text without its quotes.
fn set(settings: TrainSettings, assignment: &str) -> Result<TrainSettings> {
    let wrong = |found: &dyn Display| {
        let expected = "a key of a recipe's [training] table and its value, such as schedule.end=0.05";
        Error::invalid("--set", expected, format!("{assignment}: {found}"))
    };
    let (path, value) = assignment.split_once('=').ok_or_else(|| wrong(&"no ="))?;
    let value = match format!("value = {value}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value").expect("its only key"),
        _ => Value::from(value),
    };
    let mut settings = Table::try_from(settings).expect("settings are a table");
    let mut table = &mut settings;
    let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        let inner = table.entry(parent).or_insert_with(|| Table::new().into());
        table = inner.as_table_mut().ok_or_else(|| wrong(&format_args!("{parent} is no table")))?;
    }
    table.insert(key.trim().into(), value);
    settings.try_into().map_err(|error: toml::de::Error| wrong(&error.message()))
}
