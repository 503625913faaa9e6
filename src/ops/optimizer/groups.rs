//! Groups of parameters, which an optimizer may treat differently.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The purpose of a parameter. The order of the variants is that of the groups in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Filters, and the matrices of dense layers.
    Weight,
    /// Values added to each channel.
    Bias,
    /// Scales and shifts of norm layers, and learnt slopes of activations.
    Norm,
}

/// How a group of parameters is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupOptions {
    /// Factor of the learning rate.
    pub rate_factor: f32,
    /// Weight decay, coupled or decoupled according to the optimizer.
    pub weight_decay: f32,
}

impl Default for GroupOptions {
    fn default() -> Self {
        GroupOptions { rate_factor: 1.0, weight_decay: 0.0 }
    }
}

impl GroupOptions {
    fn check(&self, optimizer: &str) -> Result<()> {
        for (expected, value) in [
            ("a finite rate_factor of at least 0", self.rate_factor),
            ("a finite weight_decay of at least 0", self.weight_decay),
        ] {
            if !(0.0..f32::INFINITY).contains(&value) {
                return Err(Error::invalid(optimizer, expected, value));
            }
        }
        Ok(())
    }
}

/// How each group is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Groups {
    /// The options of [`Group::Weight`].
    pub weight: GroupOptions,
    /// The options of [`Group::Bias`].
    pub bias: GroupOptions,
    /// The options of [`Group::Norm`].
    pub norm: GroupOptions,
}

impl Groups {
    /// The same weight decay for all parameters.
    pub fn with_weight_decay(weight_decay: f32) -> Self {
        let options = GroupOptions { weight_decay, ..GroupOptions::default() };
        Groups { weight: options, bias: options, norm: options }
    }

    /// The options of a group.
    pub fn of(&self, group: Group) -> GroupOptions {
        match group {
            Group::Weight => self.weight,
            Group::Bias => self.bias,
            Group::Norm => self.norm,
        }
    }

    /// All options, in the order of the groups.
    pub(super) fn all(&self) -> [GroupOptions; 3] {
        [self.weight, self.bias, self.norm]
    }

    pub(super) fn check(&self, optimizer: &str) -> Result<()> {
        self.all().iter().try_for_each(|options| options.check(optimizer))
    }
}
