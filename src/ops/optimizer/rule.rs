//! The trait of optimizers: everything in which they differ.

use std::fmt::Debug;

use crate::ops::kernel::{Constant, Source};
use crate::{Error, Result};

/// The largest number of states that an optimizer keeps per parameter.
pub(super) const MOST_STATES: usize = 2;

/// How weight decay pulls parameters towards zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// `weight_decay * parameter` is added to the gradient, and so affects the optimizer's states.
    Coupled,
    /// The parameter shrinks by the share `learning_rate * weight_decay`, whatever its gradient is.
    Decoupled,
}

/// An optimizer: computes the direction of a step from the gradient of a parameter and the states of earlier steps.
///
/// Weight decay, clipping, groups and the length of the step are the same for all optimizers, and belong to
/// [`Update`](super::Update): `parameter -= learning_rate * direction`. A rule must map a gradient and states of zero to
/// a direction and states of zero, since tensors that lie side by side have zeros between them.
pub trait Rule: Debug + Send + Sync {
    /// Its name, in settings, messages and tables.
    fn name(&self) -> &'static str;

    /// A learning rate to start with, for small networks.
    fn usual_learning_rate(&self) -> f64 {
        1e-3
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of range.
    fn check(&self) -> Result<()>;

    /// Names of the states that are kept per parameter; each has the parameter's size, and is zero at first.
    fn states(&self) -> &'static [&'static str];

    /// Names of the states that are never negative.
    fn states_without_sign(&self) -> &'static [&'static str] {
        &[]
    }

    /// The kind of weight decay.
    fn decay(&self) -> Decay {
        Decay::Coupled
    }

    /// The momentum, which a schedule may replace from step to step; zero if there is none.
    fn momentum(&self) -> f64;

    /// The factors of both states in step `t`, counted from 1, which correct for states that start at zero.
    fn corrections(&self, _t: u64, _momentum: f64) -> [f64; 2] {
        [1.0; 2]
    }

    /// The definition for one value of a parameter: updates the states, in the order of their names, and returns the
    /// direction.
    fn define(&self, now: &Now<f64>, gradient: f64, states: &mut [f64]) -> f64;

    /// The step of a piece of a parameter on the CPU.
    fn run_on_cpu(&self, now: &Now<f32>, piece: Piece<'_>);

    /// The kernel's `direction`: a file of `shaders/optimizer` that binds the states from binding 5 on.
    fn source(&self) -> Source;

    /// Values of the overrides in that file.
    fn constants(&self) -> Vec<(&'static str, Constant)>;

    /// Floating-point operations for one value.
    fn flops(&self) -> u64;

    /// Whether small integers give exact answers in f32.
    fn is_exact_on_integers(&self) -> bool {
        false
    }

    /// The largest error of a direction in f32, for gradients and states in [-1, 1], in units of [`f32::EPSILON`].
    fn error(&self) -> f64;
}

/// Checks the share of an average or a velocity that is kept, as rounded for kernels: a share that rounds to 1 would
/// never change it.
pub(super) fn check_share(optimizer: &str, setting: &str, share: f64) -> Result<()> {
    match share as f32 {
        share if (0.0..1.0).contains(&share) => Ok(()),
        share => Err(Error::invalid(optimizer, format!("{setting} from 0 to below 1"), share)),
    }
}

/// Checks the value that is added to a divisor: if it were smaller, zeros would be divided by zero.
pub(super) fn check_epsilon(optimizer: &str, epsilon: f64) -> Result<()> {
    if !(f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&epsilon) {
        let expected = format!("a finite epsilon of at least {:e}", f32::MIN_POSITIVE);
        return Err(Error::invalid(optimizer, expected, epsilon));
    }
    Ok(())
}

/// A step's row of the schedule, which is the same for all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now<T> {
    /// Length of the step along the direction.
    pub learning_rate: T,
    /// Share of the first state that is kept.
    pub momentum: T,
    /// [`Rule::corrections`].
    pub corrections: [T; 2],
    /// Factor of the learning rate of parameters that are trained [at first](crate::network::Kind::TrainedAtFirst) alone: 1,
    /// later 0.
    pub at_first: T,
    /// Share that each average takes in of its value.
    pub share: T,
    /// Above 0.5 in a step after which values become their averages, otherwise 0.
    pub returns: T,
}

impl<T: Copy> Now<T> {
    /// Number of values in a row.
    pub const SIZE: usize = 8;

    /// Row `step` of a schedule `[steps,8]`.
    pub(super) fn of(schedule: &[T], step: usize) -> Self {
        let row = &schedule[Self::SIZE * step..];
        let [learning_rate, momentum, first, second, at_first, share, returns] =
            std::array::from_fn(|column| row[column]);
        Now { learning_rate, momentum, corrections: [first, second], at_first, share, returns }
    }
}

impl Now<f32> {
    /// The row of a schedule `[steps,8]`, whose last value is unused.
    pub fn row(self) -> [f32; 8] {
        let Now { learning_rate, momentum, corrections: [first, second], at_first, share, returns } = self;
        [learning_rate, momentum, first, second, at_first, share, returns, 0.0]
    }
}

/// A piece of one parameter on the CPU, with its gradient and its states.
#[derive(Debug)]
pub struct Piece<'a> {
    pub(super) parameter: &'a mut [f32],
    pub(super) gradient: &'a [f32],
    /// The states that the optimizer has; the others are empty.
    pub(super) states: [&'a mut [f32]; MOST_STATES],
    /// The parameter's moving average; empty if none is kept.
    pub(super) average: &'a mut [f32],
    pub(super) terms: Terms,
}

/// The coefficients of a step that are the same for all values of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Factor of the gradient, from clipping.
    pub scale: f32,
    /// Factor of the parameter that is added to its gradient, from coupled decay.
    pub pull: f32,
    /// Factor of the parameter, from decoupled decay.
    pub keep: f32,
    /// Length of the step.
    pub rate: f32,
}

impl Terms {
    /// Updates each parameter along the `direction` of its gradient and its state.
    fn step<'a, S>(
        self,
        values: impl Iterator<Item = ((&'a mut f32, &'a f32), S)>,
        direction: impl Fn(f32, S) -> f32,
    ) {
        let Terms { scale, pull, keep, rate } = self;
        // The same bits for finite numbers, with half of the arithmetic.
        if (scale, pull, keep) == (1.0, 0.0, 1.0) {
            for ((parameter, &gradient), state) in values {
                *parameter -= rate * direction(gradient, state);
            }
        } else {
            for ((parameter, &gradient), state) in values {
                let g = scale * gradient + pull * *parameter;
                *parameter = keep * *parameter - rate * direction(g, state);
            }
        }
    }
}

impl<'a> Piece<'a> {
    /// Steps along the `direction` of each gradient.
    pub(super) fn step(self, direction: impl Fn(f32) -> f32) {
        let Piece { parameter, gradient, terms, .. } = self;
        // There are no states, so that the gradient takes their place.
        terms.step(parameter.iter_mut().zip(gradient).zip(gradient), |g, _| direction(g));
    }

    /// Steps along the `direction` of each gradient, which changes the first state.
    pub(super) fn step_with_state(self, direction: impl Fn(f32, &mut f32) -> f32) {
        let Piece { parameter, gradient, states: [state, _], terms, .. } = self;
        terms.step(parameter.iter_mut().zip(gradient).zip(state), direction);
    }

    /// Steps along the `direction` of each gradient, which changes both states.
    pub(super) fn step_with_two_states(self, direction: impl Fn(f32, &mut f32, &mut f32) -> f32) {
        let Piece { parameter, gradient, states: [first, second], terms, .. } = self;
        let states = first.iter_mut().zip(second);
        terms.step(parameter.iter_mut().zip(gradient).zip(states), |g, (first, second)| {
            direction(g, first, second)
        });
    }

    pub(super) fn split_at(self, middle: usize) -> [Piece<'a>; 2] {
        let Piece { parameter, gradient, states: [first, second], average, terms } = self;
        let halves = |kept: &'a mut [f32]| {
            let middle = middle.min(kept.len());
            kept.split_at_mut(middle)
        };
        let (parameter, gradient) = (parameter.split_at_mut(middle), gradient.split_at(middle));
        let (first, second, average) = (halves(first), halves(second), halves(average));
        [
            Piece {
                parameter: parameter.0,
                gradient: gradient.0,
                states: [first.0, second.0],
                average: average.0,
                terms,
            },
            Piece {
                parameter: parameter.1,
                gradient: gradient.1,
                states: [first.1, second.1],
                average: average.1,
                terms,
            },
        ]
    }
}
