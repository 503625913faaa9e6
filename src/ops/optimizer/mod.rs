//! Optimizers, which update parameters by gradients.

mod adagrad;
mod adam;
mod adamw;
mod average;
mod gradient_norm;
mod groups;
mod lion;
mod rmsprop;
mod rule;
mod sgd;
mod update;

pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamw::AdamW;
pub use average::{AVERAGE, Average};
pub use gradient_norm::GradientNorm;
pub use groups::{Group, GroupOptions, Groups};
pub use lion::Lion;
pub use rmsprop::RmsProp;
pub use rule::{Decay, Now, Piece, Rule};
pub use sgd::Sgd;
pub use update::{Parameter, Update, UpdateOptions};

use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Defines [`Optimizer`] from the listed types: the only place that distinguishes them.
macro_rules! optimizers {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// An optimizer with its settings: plain data, in files a table with its `name` and the settings that differ
        /// from the defaults.
        ///
        /// ```
        /// use wgconv::ops::optimizer::{Adam, AdamW, Optimizer, Rule};
        ///
        /// let optimizer: Optimizer = toml::from_str("name = 'adamw'\nbetas = [0.9, 0.99]").unwrap();
        /// assert_eq!(optimizer, Optimizer::AdamW(AdamW(Adam { betas: [0.9, 0.99], ..Adam::default() })));
        /// assert_eq!(optimizer.states(), ["first_moment", "second_moment"]);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "lowercase")]
        pub enum Optimizer {
            $($(#[$doc])* $kind($kind)),*
        }

        impl Optimizer {
            /// Every optimizer, with its usual settings.
            pub fn all() -> Vec<Optimizer> {
                vec![$(Optimizer::$kind($kind::default())),*]
            }
        }

        impl Deref for Optimizer {
            type Target = dyn Rule;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Optimizer::$kind(rule) => rule),*
                }
            }
        }
    };
}

optimizers! {
    /// Stochastic gradient descent.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// RMSprop.
    RmsProp,
    /// Lion.
    Lion,
    /// Adagrad.
    Adagrad,
}

/// Plain stochastic gradient descent.
impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::Sgd(Sgd::default())
    }
}

/// The optimizer of this name, with its usual settings.
impl FromStr for Optimizer {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] if no optimizer has this name.
    fn from_str(name: &str) -> Result<Self, Error> {
        let all = Optimizer::all();
        let names: Vec<&str> = all.iter().map(|optimizer| optimizer.name()).collect();
        let position = names.iter().position(|&known| known == name);
        let position = position
            .ok_or_else(|| Error::invalid("optimizer", format!("one of {}", names.join(", ")), name))?;
        Ok(all[position])
    }
}

impl Optimizer {
    /// The row of the schedule for step `t` of the whole training, the first one being 1: learning rate, momentum, and the
    /// factors that correct for states that start at zero, all of them computed in f64. Averages are left as they are.
    ///
    /// If `momentum` is `None`, the optimizer's own is used; an optimizer without momentum does not read it.
    ///
    /// # Panics
    /// For step 0: steps are numbered from 1.
    pub fn now(&self, t: u64, learning_rate: f64, momentum: Option<f64>) -> Now<f32> {
        assert!(t > 0, "steps count from 1");
        let momentum = momentum.unwrap_or_else(|| self.momentum()) as f32;
        // The momentum as rounded for the kernels, since the corrections must match their averages.
        let corrections = self.corrections(t, momentum.into()).map(|correction| correction as f32);
        let learning_rate = learning_rate as f32;
        Now { learning_rate, momentum, corrections, at_first: 1.0, share: 0.0, returns: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_tables_that_know_their_keys() {
        for optimizer in Optimizer::all() {
            let text = toml::to_string(&optimizer).unwrap();
            assert!(text.starts_with(&format!("name = \"{}\"\n", optimizer.name())), "{text}");
            assert_eq!(toml::from_str::<Optimizer>(&text).unwrap(), optimizer);
            let named: Optimizer = toml::from_str(&format!("name = '{}'", optimizer.name())).unwrap();
            assert_eq!(named, optimizer);
            assert_eq!(optimizer.name().parse::<Optimizer>().unwrap(), optimizer);
            optimizer.check().unwrap();
            assert!(toml::from_str::<Optimizer>(&(text + "more = 1")).is_err());
        }
        let error = "adamm".parse::<Optimizer>().unwrap_err().to_string();
        assert_eq!(error, "optimizer: expected one of sgd, adam, adamw, rmsprop, lion, adagrad, found adamm");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let refused = |optimizer: Optimizer| optimizer.check().is_err();
        for momentum in [-0.1, 1.0, 1.0 - 1e-12, f64::NAN] {
            assert!(refused(Optimizer::Sgd(Sgd { momentum, nesterov: false })), "{momentum}");
            assert!(refused(Optimizer::RmsProp(RmsProp { momentum, ..RmsProp::default() })), "{momentum}");
            assert!(refused(Optimizer::RmsProp(RmsProp { alpha: momentum, ..RmsProp::default() })));
            for betas in [[momentum, 0.9], [0.9, momentum]] {
                let adam = Adam { betas, ..Adam::default() };
                assert!(
                    refused(Optimizer::Adam(adam)) && refused(Optimizer::AdamW(AdamW(adam))),
                    "{betas:?}"
                );
                assert!(refused(Optimizer::Lion(Lion { betas })), "{betas:?}");
            }
        }
        assert!(refused(Optimizer::Sgd(Sgd { momentum: 0.0, nesterov: true })));
        for epsilon in [0.0, 1e-39, -1.0, f64::INFINITY, f64::NAN] {
            assert!(refused(Optimizer::Adam(Adam { epsilon, ..Adam::default() })), "{epsilon}");
            assert!(refused(Optimizer::RmsProp(RmsProp { epsilon, ..RmsProp::default() })), "{epsilon}");
        }
    }

    #[test]
    fn a_row_holds_what_the_host_computes_of_a_step() {
        let row = |optimizer: &Optimizer, t, rate, momentum| optimizer.now(t, rate, momentum).row();
        let with =
            |[rate, momentum, first, second]: [f32; 4]| [rate, momentum, first, second, 1.0, 0.0, 0.0, 0.0];
        let sgd = Optimizer::Sgd(Sgd { momentum: 0.5, nesterov: false });
        assert_eq!(row(&sgd, 7, 0.25, None), with([0.25, 0.5, 1.0, 1.0]));
        assert_eq!(row(&sgd, 7, 0.25, Some(0.75)), with([0.25, 0.75, 1.0, 1.0]));
        let adam = Optimizer::Adam(Adam { betas: [0.5, 0.75], ..Adam::default() });
        assert_eq!(row(&adam, 1, 1.0, None), with([1.0, 0.5, 2.0, 2.0]));
        assert_eq!(row(&adam, 2, 1.0, None), with([1.0, 0.5, 4.0 / 3.0, (16.0f32 / 7.0).sqrt()]));
        assert_eq!(row(&adam, 1_000_000, 1.0, None), with([1.0, 0.5, 1.0, 1.0]));
        let now = sgd.now(7, 0.25, None);
        assert_eq!(Now::of(&[[0.0; 8], now.row()].concat(), 1), now);
    }

    /// Tensors that lie side by side have zeros between them, which must stay zero.
    #[test]
    fn zeros_stay_zeros() {
        for optimizer in Optimizer::all() {
            let now = Now {
                learning_rate: 1.0,
                momentum: optimizer.momentum(),
                corrections: [1e3; 2],
                at_first: 1.0,
                share: 1.0,
                returns: 1.0,
            };
            let mut states = vec![0.0; optimizer.states().len()];
            assert_eq!(optimizer.define(&now, 0.0, &mut states), 0.0, "{}", optimizer.name());
            assert!(states.iter().all(|&state| state == 0.0), "{}", optimizer.name());
        }
    }
}
