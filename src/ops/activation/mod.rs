//! Activations: elementwise functions and their gradients.

mod forward;
mod grad;

pub use forward::ActivationForward;
pub use grad::ActivationGrad;

use super::kernel::{Constant, Source, shader};
use crate::cpu::exp;
use crate::{Error, Result};

/// A function that is applied to every element.
///
/// NaN stays NaN through each of them, and no finite input gives NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// 0 where `x <= 0`, else `x`; its derivative at 0 is 0.
    Relu,
    /// `slope*x` where `x <= 0`, else `x`.
    LeakyRelu {
        /// Derivative where `x <= 0`; must be positive.
        slope: f32,
    },
    /// `alpha*(exp(x) - 1)` where `x <= 0`, else `x`.
    Elu {
        /// Minus the limit for large negative `x`; must be positive.
        alpha: f32,
    },
    /// `1/(1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `x/2*(1 + erf(x/sqrt(2)))`: x times the probability that a standard normal variable is below x, not the
    /// approximation by tanh.
    Gelu,
    /// `x/(1 + exp(-x))`, also called swish.
    Silu,
    /// 0 where `x <= -3`, `x` where `x >= 3`, else `x*(x + 3)/6`: swish without an exponential; its derivative is 0 at -3
    /// and 1 at 3.
    HardSwish,
    /// `factor*x`.
    Scale {
        /// The derivative everywhere; must not be 0.
        factor: f32,
    },
}

/// The tensor from which an activation's gradient is computed, and which the plan therefore has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The activation's output, so that its input's buffer can be reused early.
    Output,
    /// The activation's input.
    Input,
}

impl Saved {
    /// The tensor's name, `output` or `input`.
    pub fn name(self) -> &'static str {
        match self {
            Saved::Output => "output",
            Saved::Input => "input",
        }
    }
}

impl Activation {
    /// Checks the activation's parameter, and returns the activation.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a slope or an alpha that is not a positive number: the output would not tell on which
    /// side of 0 the input was. Also for a factor that is zero or not finite.
    pub fn checked(self) -> Result<Self> {
        match self {
            Activation::LeakyRelu { slope: parameter } | Activation::Elu { alpha: parameter }
                if !(parameter > 0.0 && parameter.is_finite()) =>
            {
                let (name, what) = match self {
                    Activation::LeakyRelu { .. } => ("leaky_relu", "slope"),
                    _ => ("elu", "alpha"),
                };
                Err(Error::invalid(name, format!("a finite {what} above 0"), parameter))
            }
            Activation::Scale { factor } if factor == 0.0 || !factor.is_finite() => {
                Err(Error::invalid("scale", "a finite factor other than 0", factor))
            }
            _ => Ok(self),
        }
    }

    /// Name of the activation: `leaky_relu`.
    pub fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Elu { .. } => "elu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::HardSwish => "hard_swish",
            Activation::Scale { .. } => "scale",
        }
    }

    /// The tensor from which the gradient is computed.
    pub fn saves(&self) -> Saved {
        match self {
            Activation::Gelu | Activation::Silu | Activation::HardSwish => Saved::Input,
            _ => Saved::Output,
        }
    }

    /// The files that define `activate` and `derivative`.
    pub(super) fn formula(&self) -> Source {
        match self {
            Activation::Relu => shader!("activation/relu.wgsl"),
            Activation::LeakyRelu { .. } => shader!("activation/leaky_relu.wgsl"),
            Activation::Elu { .. } => shader!("activation/elu.wgsl"),
            Activation::Sigmoid => shader!("activation/sigmoid.wgsl", "activation/logistic.wgsl"),
            Activation::Tanh => shader!("activation/tanh.wgsl"),
            Activation::Gelu => shader!("activation/gelu.wgsl"),
            Activation::Silu => shader!("activation/silu.wgsl", "activation/logistic.wgsl"),
            Activation::HardSwish => shader!("activation/hard_swish.wgsl"),
            Activation::Scale { .. } => shader!("activation/scale.wgsl"),
        }
    }

    /// The overrides of the files of [`Activation::formula`].
    pub(super) fn constants(&self) -> Vec<(&'static str, Constant)> {
        match *self {
            Activation::LeakyRelu { slope } => vec![("SLOPE", slope.into())],
            Activation::Elu { alpha } => vec![("ALPHA", alpha.into())],
            Activation::Scale { factor } => vec![("FACTOR", factor.into())],
            _ => vec![],
        }
    }
}

/// The share of the normal distribution below `x`, `(1 + erf(x/sqrt(2)))/2`, and its density at `x` without the factor
/// `1/sqrt(2*pi)`, in f32, for loops that are compiled to vectors.
///
/// The share is off by at most 7.5e-8: Abramowitz and Stegun, formula 7.1.26, written with the tail, so that nothing cancels.
#[inline(always)]
fn normal_distribution(x: f32) -> [f32; 2] {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = 1.061_405_4;
    let series = series * t - 1.453_152;
    let series = series * t + 1.421_413_7;
    let series = series * t - 0.284_496_74;
    let series = series * t + 0.254_829_6;
    let density = exp(-z * z);
    let tail = 0.5 * series * t * density;
    [if x < 0.0 { tail } else { 1.0 - tail }, density]
}

/// Elements that a core takes at a time: few enough for its first-level cache, enough to be worth waking a thread.
const CHUNK: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{HostBuffer, Op, Operands};

    const ALL: [Activation; 9] = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Elu { alpha: 1.5 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Scale { factor: -1.5 },
    ];

    /// The value that `run` leaves in the last of several buffers of one value each.
    fn last<T: Copy>(values: &[T], run: impl FnOnce(&mut Operands<T>)) -> T {
        let mut operands = Operands::new(values.iter().map(|&value| HostBuffer::real(vec![value])).collect());
        run(&mut operands);
        operands.into_buffers().last().expect("an operand that is written").reals()[0]
    }

    /// The activation and its derivative at `x`, from the definition and on the CPU.
    fn at(activation: Activation, x: f32) -> [[f64; 2]; 2] {
        let forward = ActivationForward { activation, elements: 1 };
        let grad = ActivationGrad { activation, elements: 1 };
        let from_output = activation.saves() == Saved::Output;
        let y = last(&[f64::from(x), 0.0], |operands| forward.define(operands));
        let saved = if from_output { y } else { x.into() };
        let derivative = last(&[saved, 1.0, 0.0], |operands| grad.define(operands));
        let fast_y = last(&[x, 0.0], |operands| forward.cpu_forms()[0].run(operands));
        let saved = if from_output { fast_y } else { x };
        let fast_derivative = last(&[saved, 1.0, 0.0], |operands| grad.cpu_forms()[0].run(operands));
        [[y, derivative], [fast_y.into(), fast_derivative.into()]]
    }

    #[test]
    fn nan_stays_nan() {
        for activation in ALL {
            let [[defined, _], [fast, _]] = at(activation, f32::NAN);
            assert!(defined.is_nan() && fast.is_nan(), "{}", activation.name());
        }
    }

    #[test]
    fn large_inputs_give_finite_values_near_the_definition() {
        for activation in ALL {
            for x in [-1e30, -1000.0, -100.0, -20.0, -3.0, -0.0, 0.0, 3.0, 20.0, 100.0, 1000.0, 1e30] {
                let [defined, fast] = at(activation, x);
                for (defined, fast) in defined.into_iter().zip(fast) {
                    assert!(defined.is_finite() && fast.is_finite(), "{} at {x}", activation.name());
                    let bound = 1e-6 * defined.abs().max(1.0);
                    assert!(
                        (defined - fast).abs() <= bound,
                        "{} at {x}: {defined}, {fast}",
                        activation.name()
                    );
                }
            }
        }
    }

    #[test]
    fn derivatives_at_zero_are_the_left_ones_where_there_are_two() {
        assert_eq!(at(Activation::Relu, 0.0), [[0.0, 0.0]; 2]);
        assert_eq!(at(Activation::LeakyRelu { slope: 0.25 }, 0.0), [[0.0, 0.25]; 2]);
        assert_eq!(at(Activation::Elu { alpha: 1.5 }, 0.0), [[0.0, 1.5]; 2]);
    }

    #[test]
    fn a_hard_swish_is_straight_from_its_kinks_outwards() {
        assert_eq!(at(Activation::HardSwish, -3.0), [[0.0, 0.0]; 2]);
        assert_eq!(at(Activation::HardSwish, 3.0), [[3.0, 1.0]; 2]);
        assert_eq!(at(Activation::HardSwish, f32::NEG_INFINITY), [[0.0, 0.0]; 2]);
    }

    #[test]
    fn a_parameter_out_of_range_is_refused() {
        for parameter in [0.0, -0.1, f32::NAN, f32::INFINITY] {
            for activation in
                [Activation::LeakyRelu { slope: parameter }, Activation::Elu { alpha: parameter }]
            {
                assert!(activation.checked().is_err(), "{activation:?}");
            }
        }
        for factor in [0.0, f32::NAN, f32::INFINITY] {
            assert!(Activation::Scale { factor }.checked().is_err(), "{factor}");
        }
        for activation in ALL {
            assert_eq!(activation.checked().unwrap(), activation);
        }
    }
}
