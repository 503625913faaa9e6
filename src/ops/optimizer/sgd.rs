//! Stochastic gradient descent.

use serde::{Deserialize, Serialize};

use super::rule::{Now, Piece, Rule, check_share};
use crate::ops::kernel::{Constant, Source, shader};
use crate::{Error, Result};

/// Stochastic gradient descent, plain by default.
///
/// ```text
/// velocity = momentum * velocity + gradient
/// direction = gradient + momentum * velocity    with nesterov,
///             velocity                          with momentum alone,
///             gradient                          without momentum, where no velocity is kept
/// ```
///
/// # Source
/// `torch.optim.SGD`, with dampening 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Share of the velocity that is kept from step to step; with 0, no velocity is stored.
    pub momentum: f64,
    /// Whether the step looks ahead along the velocity.
    pub nesterov: bool,
}

impl Sgd {
    fn has_velocity(&self) -> bool {
        self.momentum > 0.0
    }
}

impl Rule for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn usual_learning_rate(&self) -> f64 {
        0.02
    }

    fn check(&self) -> Result<()> {
        let Sgd { momentum, nesterov } = *self;
        check_share(self.name(), "momentum", momentum)?;
        if nesterov && momentum == 0.0 {
            return Err(Error::invalid(self.name(), "momentum above 0 for nesterov", momentum));
        }
        Ok(())
    }

    fn states(&self) -> &'static [&'static str] {
        if self.has_velocity() { &["velocity"] } else { &[] }
    }

    fn momentum(&self) -> f64 {
        self.momentum
    }

    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        let [velocity] = states else { return gradient };
        *velocity = now.momentum * *velocity + gradient;
        if self.nesterov { gradient + now.momentum * *velocity } else { *velocity }
    }

    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>) {
        let momentum = now.momentum;
        match (self.has_velocity(), self.nesterov) {
            (false, _) => piece.step(|g| g),
            (true, false) => piece.step_with_state(|g, velocity| {
                *velocity = momentum * *velocity + g;
                *velocity
            }),
            (true, true) => piece.step_with_state(|g, velocity| {
                *velocity = momentum * *velocity + g;
                g + momentum * *velocity
            }),
        }
    }

    fn source(&self) -> Source {
        match self.has_velocity() {
            true => shader!("optimizer/sgd_momentum.wgsl"),
            false => shader!("optimizer/sgd.wgsl"),
        }
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        match self.has_velocity() {
            true => vec![("NESTEROV", self.nesterov.into())],
            false => vec![],
        }
    }

    fn flops(&self) -> u64 {
        2 * (u64::from(self.has_velocity()) + u64::from(self.nesterov))
    }

    fn is_exact_on_integers(&self) -> bool {
        true
    }

    fn error(&self) -> f64 {
        1.0
    }
}
