//! Initial values of parameters.

use std::f64::consts::TAU;

use ::toml::Value;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::keys::number;
use crate::tensor::Shape;
use crate::{Error, Result};

/// How a parameter is initialised, as a function of its fans: `fan_in` = R*S*C/groups and `fan_out` = R*S*K for
/// filters, inputs and outputs for a dense weight.
///
/// ```
/// use wgconv::network::Initialiser;
/// use wgconv::tensor::Shape;
///
/// // Four filters of one tap for three channels: the first three pass a channel each.
/// let filters = Initialiser::Dirac.fill(&Shape::from([4, 1, 1, 3]), [3, 4], 0, 0);
/// assert_eq!(filters[..9], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
/// assert!(filters[9..].iter().all(|value| value.abs() < 3f32.sqrt().recip()));
/// ```
///
/// # Source
/// Glorot and Bengio 2010, He et al. 2015. The normal distributions are not truncated, as in PyTorch's
/// `xavier_normal_` and `kaiming_normal_` and unlike Keras's.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Initialiser {
    /// Uniform within `+-sqrt(6 / (fan_in + fan_out))`.
    #[default]
    GlorotUniform,
    /// Normal of variance `2 / (fan_in + fan_out)`.
    GlorotNormal,
    /// Uniform within `+-sqrt(6 / fan_in)`.
    HeUniform,
    /// Normal of variance `2 / fan_in`.
    HeNormal,
    /// Uniform within `+-1 / sqrt(fan_in)`, which is what PyTorch's convolutions and dense layers start from.
    PytorchDefault,
    /// Identities, and [`PytorchDefault`](Initialiser::PytorchDefault) for the filters beyond them: of C input channels,
    /// filter c < C passes channel c through its middle tap, so that a deep network starts from something like its input.
    /// An even size has its middle behind the half, as in PyTorch's `dirac_`.
    Dirac,
    /// Zero everywhere.
    Zeros,
    /// One value everywhere.
    Constant(f32),
}

impl Initialiser {
    /// The initialisers that model files give by name: all but [`Initialiser::Constant`].
    pub const NAMED: [Initialiser; 7] = [
        Initialiser::GlorotUniform,
        Initialiser::GlorotNormal,
        Initialiser::HeUniform,
        Initialiser::HeNormal,
        Initialiser::PytorchDefault,
        Initialiser::Dirac,
        Initialiser::Zeros,
    ];

    /// Keras's and the model files' name: `glorot_uniform`.
    pub fn name(self) -> &'static str {
        match self {
            Initialiser::GlorotUniform => "glorot_uniform",
            Initialiser::GlorotNormal => "glorot_normal",
            Initialiser::HeUniform => "he_uniform",
            Initialiser::HeNormal => "he_normal",
            Initialiser::PytorchDefault => "pytorch_default",
            Initialiser::Dirac => "dirac",
            Initialiser::Zeros => "zeros",
            Initialiser::Constant(_) => "constant",
        }
    }

    /// Checks that the initial values are finite.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a constant that is not finite.
    pub fn check(self) -> Result<()> {
        match self {
            Initialiser::Constant(value) if !value.is_finite() => {
                Err(Error::invalid("initialiser", "a finite initial value", value))
            }
            _ => Ok(()),
        }
    }

    /// The largest magnitude of a value, with `[fan_in, fan_out]`, if all magnitudes up to it are equally probable.
    pub fn bound(self, [fan_in, fan_out]: [usize; 2]) -> Option<f64> {
        let [fan_in, fan_out] = [fan_in as f64, fan_out as f64];
        match self {
            Initialiser::GlorotUniform => Some((6.0 / (fan_in + fan_out)).sqrt()),
            Initialiser::HeUniform => Some((6.0 / fan_in).sqrt()),
            Initialiser::PytorchDefault => Some((1.0 / fan_in).sqrt()),
            _ => None,
        }
    }

    /// The values of a parameter of these sizes, with `[fan_in, fan_out]`: filters `[K,R,S,C/groups]`, a dense weight
    /// `[O,I]`, vectors.
    ///
    /// Each pair (seed, stream) has random numbers of its own, with the same bits on every platform.
    pub fn fill(self, shape: &Shape, fans: [usize; 2], seed: u64, stream: u64) -> Vec<f32> {
        let count = shape.elements();
        let [fan_in, fan_out] = fans.map(|fan| fan as f64);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        let drawn = |random: &mut ChaCha8Rng, bound: Option<f64>| {
            uniform(random, count, bound.expect("it draws uniformly"))
        };
        match self {
            Initialiser::GlorotUniform | Initialiser::HeUniform | Initialiser::PytorchDefault => {
                drawn(&mut random, self.bound(fans))
            }
            Initialiser::GlorotNormal => normal(&mut random, count, (2.0 / (fan_in + fan_out)).sqrt()),
            Initialiser::HeNormal => normal(&mut random, count, (2.0 / fan_in).sqrt()),
            Initialiser::Dirac => {
                let mut values = drawn(&mut random, Initialiser::PytorchDefault.bound(fans));
                put_identities(&mut values, shape);
                values
            }
            Initialiser::Zeros => vec![0.0; count],
            Initialiser::Constant(value) => vec![value; count],
        }
    }
}

/// The entry of an initialiser in a model file; `None` for the default one.
pub(crate) fn key(initialiser: Initialiser) -> Option<(&'static str, Value)> {
    let value = match initialiser {
        Initialiser::Constant(value) => number(value),
        named => named.name().into(),
    };
    (initialiser != Initialiser::default()).then_some(("initializer", value))
}

/// Makes the first filters pass one input channel each.
fn put_identities(values: &mut [f32], shape: &Shape) {
    let (filters, channels, middle) = match *shape.sizes() {
        [k, r, s, c] => (k, c, r / 2 * s + s / 2),
        [outputs, inputs] => (outputs, inputs, 0),
        _ => return,
    };
    let taps = shape.elements() / (filters * channels);
    for (channel, filter) in values.chunks_exact_mut(taps * channels).take(channels).enumerate() {
        filter.fill(0.0);
        filter[middle * channels + channel] = 1.0;
    }
}

/// Values strictly within `+-limit`, symmetric about zero.
fn uniform(random: &mut ChaCha8Rng, count: usize, limit: f64) -> Vec<f32> {
    const HALF: i32 = 1 << 24;
    let limit = limit as f32;
    // An odd number below 2^24 is exact in f32, and so is its quotient: only the product is rounded.
    let mut unit = || (2 * (random.next_u32() >> 8) as i32 + 1 - HALF) as f32 / HALF as f32;
    (0..count).map(|_| unit() * limit).collect()
}

/// Values of mean 0 and the given standard deviation, by Box and Muller's transform.
fn normal(random: &mut ChaCha8Rng, count: usize, deviation: f64) -> Vec<f32> {
    const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
    let mut values = vec![0.0; count];
    for pair in values.chunks_mut(2) {
        // In (0, 1], so that the logarithm is finite; functions of libm, because those of std differ between
        // platforms.
        let [first, second] = [(); 2].map(|()| ((random.next_u64() >> 11) + 1) as f64 * UNIT);
        let radius = deviation * (-2.0 * libm::log(first)).sqrt();
        let (sin, cos) = libm::sincos(TAU * second);
        for (value, direction) in pair.iter_mut().zip([cos, sin]) {
            *value = (radius * direction) as f32;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 200_000;
    const FANS: [usize; 2] = [30, 70];

    /// Mean, variance and largest absolute value.
    fn moments(values: &[f32]) -> [f64; 3] {
        let mean_of = |f: fn(f64) -> f64| {
            values.iter().map(|&value| f(value.into())).sum::<f64>() / values.len() as f64
        };
        let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        [mean_of(|value| value), mean_of(|value| value * value), largest.into()]
    }

    fn fill(initialiser: Initialiser, count: usize, seed: u64, stream: u64) -> Vec<f32> {
        initialiser.fill(&Shape::from([count]), FANS, seed, stream)
    }

    #[test]
    fn values_have_the_bounds_mean_and_variance_of_the_formulas() {
        use Initialiser::*;
        for (initialiser, variance, bound) in [
            (GlorotUniform, 0.06 / 3.0, 0.06f64.sqrt()),
            (HeUniform, 0.2 / 3.0, 0.2f64.sqrt()),
            (GlorotNormal, 0.02, f64::INFINITY),
            (HeNormal, 2.0 / 30.0, f64::INFINITY),
            (PytorchDefault, 1.0 / 30.0 / 3.0, (1.0f64 / 30.0).sqrt()),
        ] {
            let [mean, found, largest] = moments(&fill(initialiser, COUNT, 7, 0));
            assert!(mean.abs() < 5.0 * (variance / COUNT as f64).sqrt(), "{initialiser:?}: mean {mean}");
            assert!((found / variance - 1.0).abs() < 0.02, "{initialiser:?}: variance {found}");
            // The f32 nearest to the bound may exceed it by half a unit in the last place.
            assert!(largest <= bound * (1.0 + 1e-7), "{initialiser:?}: {largest}");
            assert!(bound.is_infinite() || largest > 0.999 * bound, "{initialiser:?}: {largest}");
        }
    }

    #[test]
    fn seeds_and_streams_give_different_values_and_lengths_do_not() {
        for initialiser in [Initialiser::GlorotUniform, Initialiser::HeNormal] {
            let values = fill(initialiser, 8, 1, 0);
            assert_eq!(values, fill(initialiser, 8, 1, 0));
            assert_eq!(values[..5], fill(initialiser, 5, 1, 0));
            assert_ne!(values, fill(initialiser, 8, 2, 0));
            assert_ne!(values, fill(initialiser, 8, 1, 1));
        }
    }

    #[test]
    fn fixed_values_ignore_fans_and_seed() {
        assert_eq!(fill(Initialiser::Zeros, 3, 1, 2), [0.0; 3]);
        assert_eq!(fill(Initialiser::Constant(0.5), 2, 1, 2), [0.5; 2]);
    }

    /// What `torch.nn.init.dirac_` makes of the first filters; the others keep their random values.
    #[test]
    fn identities_pass_a_channel_each() {
        let cases = [([3, 3, 3, 2], 4), ([4, 2, 2, 3], 3), ([2, 1, 5, 4], 2), ([5, 1, 1, 1], 0)];
        for (sizes, middle) in cases {
            let (shape, [filters, _, _, channels]) = (Shape::from(sizes), sizes);
            let length = shape.elements() / filters;
            let found = Initialiser::Dirac.fill(&shape, [length, 1], 3, 5);
            let others = Initialiser::PytorchDefault.fill(&shape, [length, 1], 3, 5);
            for (number, filter) in found.chunks(length).enumerate() {
                if number < channels {
                    let is_one = |at: usize| at == middle * channels + number;
                    let expected: Vec<f32> = (0..length).map(|at| f32::from(is_one(at))).collect();
                    assert_eq!(filter, expected, "{sizes:?}");
                } else {
                    assert_eq!(filter, &others[number * length..][..length], "{sizes:?}");
                }
            }
        }
        let dense = Initialiser::Dirac.fill(&Shape::from([2, 3]), [3, 2], 1, 1);
        assert_eq!(dense, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn bits_are_the_same_everywhere() {
        // Computed in Python, with an independent ChaCha8 and logarithm.
        let values = |initialiser: Initialiser| initialiser.fill(&Shape::from([4]), [3, 3], 42, 1);
        assert_eq!(values(Initialiser::GlorotUniform), [0.10772425, 0.43358332, 0.29199857, -0.66617936]);
        assert_eq!(values(Initialiser::HeNormal), [0.3322678, 0.577545, 0.56060904, -0.8109573]);
    }
}
