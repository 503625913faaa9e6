//! How a network is trained, as plain data.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::lookahead::Lookahead;
use super::schedule::Schedule;
use crate::data::{Dataset, balanced_weights};
use crate::network::Network;
use crate::ops::optimizer::{Groups, Now, Optimizer, Sgd, UpdateOptions};
use crate::plan::LossOptions;
use crate::{Error, Result};

/// How a network is trained. A setting that is missing in a file is that of [`TrainSettings::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Number of passes over the training set, which the schedule spans.
    pub epochs: usize,
    /// Images in a batch.
    pub batch_size: usize,
    /// How outputs of layers and their gradients are stored.
    #[serde(skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Seed of the initial weights and of every epoch's order.
    pub seed: u64,
    /// The learning rate, which the schedule's factor multiplies.
    pub learning_rate: f64,
    /// Largest norm of all gradients together: above it, they are scaled down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// Share that the exponential moving average of each weight keeps in a step; without it, no averages are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f32>,
    /// How weights return to slower averages of themselves; without it, they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<Lookahead>,
    /// Share of every label that is spread over all classes in training; evaluations use the plain loss.
    #[serde(skip_serializing_if = "is_zero")]
    pub label_smoothing: f32,
    /// Weight of each class in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// How training images are varied; evaluations see them as they are.
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augment: Augmentation,
    /// Names of variables that are not trained, with `*` for any characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Variables that are trained in the first epochs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_after: Option<FreezeAfter>,
    /// The optimizer, which turns gradients into steps.
    pub optimizer: Optimizer,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// Weight decay and learning-rate factor of each group of parameters.
    pub groups: Groups,
}

/// How outputs of layers and their gradients are stored in training. Everything is computed in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// In f32.
    #[default]
    F32,
    /// In f16, in half the memory, where the device supports that: [`Plan::in_halves`](crate::plan::Plan::in_halves). The loss
    /// is [scaled](crate::ops::loss::LOSS_SCALE), so that small gradients are not lost. Parameters, their gradients, statistics
    /// and evaluations stay in f32.
    Mixed,
}

impl Precision {
    /// The names.
    pub const NAMES: [&'static str; 2] = ["f32", "mixed"];

    fn is_f32(&self) -> bool {
        *self == Precision::F32
    }
}

impl FromStr for Precision {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for another name.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "mixed" => Ok(Precision::Mixed),
            _ => Err(Error::invalid("precision", "f32 or mixed", text)),
        }
    }
}

/// Variables that are trained in the first epochs alone, and then keep their values. As text: `3:conv1.bias,conv2.*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeAfter {
    /// Number of epochs in which they are trained.
    pub epochs: usize,
    /// Their names, with `*` for any characters.
    pub names: Vec<String>,
}

impl FromStr for FreezeAfter {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for another form.
    fn from_str(text: &str) -> Result<Self> {
        let expected = "a number of epochs and names such as 3:conv1.bias,conv2.*";
        let wrong = || Error::invalid("freeze_after", expected, format!("{text:?}"));
        let (epochs, names) = text.split_once(':').ok_or_else(wrong)?;
        let epochs = epochs.trim().parse().map_err(|_| wrong())?;
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(FreezeAfter { epochs, names })
    }
}

/// Weight of each class in the training loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// The rarer a class is in the training set, the larger its weight: [`balanced_weights`].
    Balanced,
    /// These numbers, one for each class; none is negative.
    Of(Vec<f32>),
}

impl ClassWeights {
    /// The weights for a training set.
    pub(super) fn of(&self, data: &Dataset) -> Result<Vec<f32>> {
        let classes = data.classes.len();
        match self {
            ClassWeights::Balanced => Ok(balanced_weights(&data.labels, classes)),
            ClassWeights::Of(weights) if weights.len() == classes => Ok(weights.clone()),
            ClassWeights::Of(weights) => {
                let expected = format!("{classes} class weights, as many as there are classes");
                Err(Error::invalid("loss", expected, weights.len()))
            }
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            ClassWeights::Balanced => Ok(()),
            ClassWeights::Of(weights) => {
                match weights.iter().find(|weight| !(0.0..f32::INFINITY).contains(*weight)) {
                    None => Ok(()),
                    Some(weight) => Err(Error::invalid("loss", "class weights of at least 0", weight)),
                }
            }
        }
    }
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

impl Default for TrainSettings {
    /// Five epochs of SGD with momentum at a constant rate.
    fn default() -> Self {
        TrainSettings {
            epochs: 5,
            batch_size: 64,
            precision: Precision::F32,
            seed: 0,
            learning_rate: 0.02,
            clip_norm: None,
            ema: None,
            lookahead: None,
            label_smoothing: 0.0,
            class_weights: None,
            augment: Augmentation::default(),
            freeze: Vec::new(),
            freeze_after: None,
            optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: false }),
            schedule: Schedule::default(),
            groups: Groups::default(),
        }
    }
}

impl TrainSettings {
    /// Checks everything, for a training set of `rows` images.
    pub(super) fn check(&self, rows: usize) -> Result<()> {
        if self.batch_size == 0 || self.batch_size > rows {
            let expected = format!("1 to the {rows} training images");
            return Err(Error::invalid("batch size", expected, self.batch_size));
        }
        self.check_alone()
    }

    /// Checks everything that can be checked without data.
    pub(super) fn check_alone(&self) -> Result<()> {
        for (what, number) in [("epochs", self.epochs), ("batch size", self.batch_size)] {
            if number == 0 {
                return Err(Error::invalid(what, "at least 1", 0));
            }
        }
        let rate = self.learning_rate as f32;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::invalid("learning rate", "a number above 0", self.learning_rate));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::invalid("label smoothing", "a share from 0 to below 1", self.label_smoothing));
        }
        if let Some(kept) = self.ema.filter(|kept| !(*kept > 0.0 && *kept < 1.0)) {
            return Err(Error::invalid("average of weights", "a share above 0 and below 1", kept));
        }
        if self.ema.is_some() && self.lookahead.is_some() {
            return Err(Error::invalid("average of weights", "either ema or lookahead", "both"));
        }
        self.lookahead.iter().try_for_each(Lookahead::check)?;
        self.augment.check()?;
        self.class_weights.iter().try_for_each(ClassWeights::check)?;
        self.schedule.check()?;
        self.update().check()
    }

    /// Options of the loss of a step.
    pub(super) fn loss(&self) -> LossOptions {
        LossOptions {
            smoothing: self.label_smoothing,
            class_weights: self.class_weights.is_some(),
            scaled: self.precision == Precision::Mixed,
        }
    }

    /// Options of the update of a step.
    pub(super) fn update(&self) -> UpdateOptions {
        UpdateOptions {
            optimizer: self.optimizer,
            groups: self.groups,
            clip_norm: self.clip_norm,
            averages: self.ema.is_some() || self.lookahead.is_some(),
        }
    }

    /// `network` with those variables frozen that are not trained, or not for long.
    pub(super) fn frozen(&self, network: Network) -> Result<Network> {
        let network = network.freeze(&self.freeze)?;
        self.freeze_after.iter().try_fold(network, |network, after| network.train_at_first(&after.names))
    }

    /// The learning rate of step `t` of a run with epochs of `steps`.
    pub(crate) fn rate(&self, t: u64, steps: usize) -> f64 {
        self.learning_rate * self.schedule.factor(t, (self.epochs * steps) as u64)
    }

    /// Rows of the plan's schedule for an epoch of `steps` steps that begins after `done` steps of the run.
    pub(super) fn schedule_rows(&self, done: u64, steps: usize) -> Vec<f32> {
        let all = (self.epochs * steps) as u64;
        let trained_at_first = self.freeze_after.as_ref().map_or(all, |after| (after.epochs * steps) as u64);
        let row = |t: u64| {
            let momentum = self.schedule.momentum(t, all);
            let now = self.optimizer.now(t + 1, self.rate(t, steps), momentum);
            let (share, returns) = match self.lookahead {
                Some(lookahead) => (lookahead.share(t + 1, all) as f32, lookahead.returns(t + 1, all)),
                None => (1.0 - self.ema.unwrap_or(1.0), false),
            };
            let (at_first, returns) = (f32::from(t < trained_at_first), f32::from(returns));
            Now { at_first, share, returns, ..now }.row()
        };
        (done..done + steps as u64).flat_map(row).collect()
    }
}
