//! RMSprop.

use serde::{Deserialize, Serialize};

use super::rule::{Now, Piece, Rule, check_epsilon, check_share};
use crate::Result;
use crate::ops::kernel::{Constant, Source, shader};

/// RMSprop: gradients are divided by the root of their mean square, with or without momentum.
///
/// ```text
/// square_average = alpha * square_average + (1 - alpha) * gradient^2
/// normalised = gradient / (sqrt(square_average) + epsilon)
/// velocity = momentum * velocity + normalised
/// direction = velocity      with momentum,
///             normalised    without, where no velocity is kept
/// ```
///
/// # Source
/// `torch.optim.RMSprop`, not centered; after T. Tieleman and G. Hinton, 2012.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// Weight of the old mean square in each step.
    pub alpha: f64,
    /// Added to the root, so that small gradients do not cause large steps.
    pub epsilon: f64,
    /// Share of the velocity that is kept from step to step; with 0, no velocity is stored.
    pub momentum: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0.0 }
    }
}

impl RmsProp {
    fn has_velocity(&self) -> bool {
        self.momentum > 0.0
    }
}

impl Rule for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn check(&self) -> Result<()> {
        let RmsProp { alpha, epsilon, momentum } = *self;
        check_share(self.name(), "alpha", alpha)?;
        check_share(self.name(), "momentum", momentum)?;
        check_epsilon(self.name(), epsilon)
    }

    fn states(&self) -> &'static [&'static str] {
        if self.has_velocity() { &["square_average", "velocity"] } else { &["square_average"] }
    }

    fn states_without_sign(&self) -> &'static [&'static str] {
        &["square_average"]
    }

    fn momentum(&self) -> f64 {
        self.momentum
    }

    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        let (square_average, velocity) = states.split_first_mut().expect("a state is named");
        *square_average = self.alpha * *square_average + (1.0 - self.alpha) * gradient * gradient;
        let normalised = gradient / (square_average.sqrt() + self.epsilon);
        let [velocity] = velocity else { return normalised };
        *velocity = now.momentum * *velocity + normalised;
        *velocity
    }

    /// The average in the form of [`Adam`](super::Adam)'s.
    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>) {
        let (share, epsilon, momentum) = ((1.0 - self.alpha) as f32, self.epsilon as f32, now.momentum);
        let normalised = |g: f32, square_average: &mut f32| {
            *square_average += share * (g * g - *square_average);
            g / (square_average.sqrt() + epsilon)
        };
        match self.has_velocity() {
            false => piece.step_with_state(normalised),
            true => piece.step_with_two_states(|g, square_average, velocity| {
                *velocity = momentum * *velocity + normalised(g, square_average);
                *velocity
            }),
        }
    }

    fn source(&self) -> Source {
        match self.has_velocity() {
            true => shader!("optimizer/rmsprop_momentum.wgsl", "optimizer/rmsprop_normalised.wgsl"),
            false => shader!("optimizer/rmsprop.wgsl", "optimizer/rmsprop_normalised.wgsl"),
        }
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![("SHARE", ((1.0 - self.alpha) as f32).into()), ("EPSILON", (self.epsilon as f32).into())]
    }

    fn flops(&self) -> u64 {
        7 + 2 * u64::from(self.has_velocity())
    }

    /// A few units of the direction's size; only epsilon keeps its divisor away from zero.
    fn error(&self) -> f64 {
        4.0 / self.epsilon.min(1.0)
    }
}
