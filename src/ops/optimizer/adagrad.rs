//! Adagrad.

use serde::{Deserialize, Serialize};

use super::rule::{Now, Piece, Rule, check_epsilon};
use crate::Result;
use crate::ops::kernel::{Constant, Source, shader};

/// Adagrad: gradients are divided by the root of the sum of all their squares so far, so that steps become ever
/// shorter.
///
/// ```text
/// square_sum = square_sum + gradient^2
/// direction = gradient / (sqrt(square_sum) + epsilon)
/// ```
///
/// # Source
/// `torch.optim.Adagrad`, without a decay of the learning rate, for which there are schedules; J. Duchi and others,
/// 2011.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// Added to the root, so that small gradients do not cause large steps.
    pub epsilon: f64,
}

impl Default for Adagrad {
    fn default() -> Self {
        Adagrad { epsilon: 1e-10 }
    }
}

impl Rule for Adagrad {
    fn name(&self) -> &'static str {
        "adagrad"
    }

    fn usual_learning_rate(&self) -> f64 {
        0.01
    }

    fn check(&self) -> Result<()> {
        check_epsilon(self.name(), self.epsilon)
    }

    fn states(&self) -> &'static [&'static str] {
        &["square_sum"]
    }

    fn states_without_sign(&self) -> &'static [&'static str] {
        &["square_sum"]
    }

    /// Adagrad has no momentum.
    fn momentum(&self) -> f64 {
        0.0
    }

    fn define(&self, _: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        let [square_sum] = states else { unreachable!("a state is named") };
        *square_sum += gradient * gradient;
        gradient / (square_sum.sqrt() + self.epsilon)
    }

    fn run_on_cpu(&self, _: &Now<f32>, piece: Piece<'_>) {
        let epsilon = self.epsilon as f32;
        piece.step_with_state(|g, square_sum| {
            *square_sum += g * g;
            g / (square_sum.sqrt() + epsilon)
        });
    }

    fn source(&self) -> Source {
        shader!("optimizer/adagrad.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![("EPSILON", (self.epsilon as f32).into())]
    }

    fn flops(&self) -> u64 {
        5
    }

    /// A few units of the direction's size; only epsilon keeps its divisor away from zero.
    fn error(&self) -> f64 {
        4.0 / self.epsilon.min(1.0)
    }
}
