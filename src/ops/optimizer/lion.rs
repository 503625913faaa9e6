//! Lion.

use serde::{Deserialize, Serialize};

use super::rule::{Decay, Now, Piece, Rule, check_share};
use crate::Result;
use crate::ops::kernel::{Constant, Source, shader};

/// Lion: every parameter moves by exactly the learning rate, up or down. It needs about a tenth of Adam's learning
/// rate, and ten times its weight decay.
///
/// ```text
/// direction = sign(beta1 * first_moment + (1 - beta1) * gradient)
/// first_moment = beta2 * first_moment + (1 - beta2) * gradient
/// ```
///
/// # Source
/// X. Chen and others, "Symbolic discovery of optimization algorithms", 2023.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// Weights of the old moment: in the direction, and in the new moment.
    pub betas: [f64; 2],
}

impl Default for Lion {
    fn default() -> Self {
        Lion { betas: [0.9, 0.99] }
    }
}

impl Rule for Lion {
    fn name(&self) -> &'static str {
        "lion"
    }

    /// Small, since every step is as long as the rate, whatever the gradient.
    fn usual_learning_rate(&self) -> f64 {
        1e-4
    }

    fn check(&self) -> Result<()> {
        self.betas.iter().try_for_each(|&beta| check_share(self.name(), "betas", beta))
    }

    fn states(&self) -> &'static [&'static str] {
        &["first_moment"]
    }

    fn decay(&self) -> Decay {
        Decay::Decoupled
    }

    fn momentum(&self) -> f64 {
        self.betas[0]
    }

    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64 {
        let [moment] = states else { unreachable!("a state is named") };
        let (beta1, beta2) = (now.momentum, self.betas[1]);
        let mixed = beta1 * *moment + (1.0 - beta1) * gradient;
        *moment = beta2 * *moment + (1.0 - beta2) * gradient;
        if mixed == 0.0 { 0.0 } else { mixed.signum() }
    }

    /// The average in the form of [`Adam`](super::Adam)'s.
    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>) {
        let (momentum, share) = (now.momentum, (1.0 - self.betas[1]) as f32);
        piece.step_with_state(|g, moment| {
            let mixed = momentum * *moment + (1.0 - momentum) * g;
            *moment += share * (g - *moment);
            if mixed == 0.0 { 0.0 } else { mixed.signum() }
        });
    }

    fn source(&self) -> Source {
        shader!("optimizer/lion.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![("SHARE", ((1.0 - self.betas[1]) as f32).into())]
    }

    fn flops(&self) -> u64 {
        7
    }

    fn error(&self) -> f64 {
        1.0
    }
}
