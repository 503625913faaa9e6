//! Adam with decoupled weight decay.

use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::rule::{Decay, Now, Piece, Rule};
use crate::Result;
use crate::ops::kernel::{Constant, Source};

/// [`Adam`] with weight decay that does not affect the moments.
///
/// # Source
/// `torch.optim.AdamW`; I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdamW(pub Adam);

impl Rule for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn check(&self) -> Result<()> {
        self.0.check_as(self.name())
    }

    fn states(&self) -> &'static [&'static str] {
        self.0.states()
    }

    fn states_without_sign(&self) -> &'static [&'static str] {
        self.0.states_without_sign()
    }

    fn decay(&self) -> Decay {
        Decay::Decoupled
    }

    fn momentum(&self) -> f64 {
        self.0.momentum()
    }

    fn corrections(&self, t: u64, momentum: f64) -> [f64; 2] {
        self.0.corrections(t, momentum)
    }

    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        self.0.define(now, gradient, states)
    }

    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>) {
        self.0.run_on_cpu(now, piece);
    }

    fn source(&self) -> Source {
        self.0.source()
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        self.0.constants()
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn error(&self) -> f64 {
        self.0.error()
    }
}
