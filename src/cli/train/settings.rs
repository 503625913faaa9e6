//! The options that say how a network is trained.

use clap::Args;
use wgconv::train::TrainSettings;

/// How to train. Without a value each is as in [`TrainSettings::default`], or as in the run that is resumed.
// A negative number is refused as such, not as an unknown option.
#[derive(Args, Clone, Debug)]
pub struct SettingsOptions {
    /// Images in a batch [default: 64]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Rule that turns gradients into steps
    #[arg(long, value_name = "NAME", default_value = "sgd", value_parser = ["sgd"])]
    optimizer: String,
    /// Length of a step along the gradient [default: 0.02]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f32>,
    /// Part of the last step that goes into the next one, from 0 to below 1 [default: 0.9]
    #[arg(long, value_name = "X")]
    momentum: Option<f32>,
    /// Look ahead along the momentum (Nesterov's method)
    #[arg(long)]
    nesterov: bool,
    /// Pull of every parameter towards zero [default: 0]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f32>,
    /// Start of all chance: initial weights, order of the images, synthetic digits [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SettingsOptions {
    /// `base` with what the options say.
    pub fn over(&self, base: TrainSettings) -> TrainSettings {
        TrainSettings {
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            momentum: self.momentum.unwrap_or(base.momentum),
            nesterov: self.nesterov || base.nesterov,
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            seed: self.seed.unwrap_or(base.seed),
            ..base
        }
    }
}
