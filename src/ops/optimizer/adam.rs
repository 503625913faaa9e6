//! Adam.

use serde::{Deserialize, Serialize};

use super::rule::{Now, Piece, Rule, check_epsilon, check_share};
use crate::Result;
use crate::ops::kernel::{Constant, Source, shader};

/// Adam: steps of about the same length for all parameters, whatever the size of their gradients.
///
/// ```text
/// first_moment = beta1 * first_moment + (1 - beta1) * gradient
/// second_moment = beta2 * second_moment + (1 - beta2) * gradient^2
/// direction = first_moment / (1 - beta1^t) / (sqrt(second_moment / (1 - beta2^t)) + epsilon)    in step t = 1, 2, ..
/// ```
///
/// # Source
/// `torch.optim.Adam`; D. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Weights of the old values of the two moments in each step.
    pub betas: [f64; 2],
    /// Added to the root, so that small gradients do not cause large steps.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { betas: [0.9, 0.999], epsilon: 1e-8 }
    }
}

impl Adam {
    /// Checks the settings of the optimizer of this name.
    pub(super) fn check_as(&self, name: &str) -> Result<()> {
        self.betas.iter().try_for_each(|&beta| check_share(name, "betas", beta))?;
        check_epsilon(name, self.epsilon)
    }
}

impl Rule for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn check(&self) -> Result<()> {
        self.check_as(self.name())
    }

    fn states(&self) -> &'static [&'static str] {
        &["first_moment", "second_moment"]
    }

    fn states_without_sign(&self) -> &'static [&'static str] {
        &["second_moment"]
    }

    fn momentum(&self) -> f64 {
        self.betas[0]
    }

    /// `1 / (1 - beta1^t)` and `1 / sqrt(1 - beta2^t)`.
    fn corrections(&self, t: u64, momentum: f64) -> [f64; 2] {
        let missing = |beta: f64| 1.0 - beta.powf(t as f64);
        [1.0 / missing(momentum), 1.0 / missing(self.betas[1]).sqrt()]
    }

    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        let [first, second] = states else { unreachable!("two states are named") };
        let (beta1, beta2) = (now.momentum, self.betas[1]);
        *first = beta1 * *first + (1.0 - beta1) * gradient;
        *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
        let corrected = now.corrections[0] * *first;
        corrected / (second.sqrt() * now.corrections[1] + self.epsilon)
    }

    /// The averages in the form `average += (1 - beta) * (value - average)`: in f32, beta and 1 - beta would not add up
    /// to 1.
    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>) {
        let Now { momentum, corrections: [of_first, of_second], .. } = *now;
        let (share, second_share) = (1.0 - momentum, (1.0 - self.betas[1]) as f32);
        let epsilon = self.epsilon as f32;
        piece.step_with_two_states(|g, first, second| {
            *first += share * (g - *first);
            *second += second_share * (g * g - *second);
            of_first * *first / (second.sqrt() * of_second + epsilon)
        });
    }

    fn source(&self) -> Source {
        shader!("optimizer/adam.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        let second_share = (1.0 - self.betas[1]) as f32;
        vec![("SECOND_SHARE", second_share.into()), ("EPSILON", (self.epsilon as f32).into())]
    }

    fn flops(&self) -> u64 {
        12
    }

    /// A few units of the direction's size; only epsilon keeps its divisor away from zero.
    fn error(&self) -> f64 {
        4.0 / self.epsilon.min(1.0)
    }
}
