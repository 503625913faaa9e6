//! Input positions grouped by their remainder modulo the stride: within such a phase, the input gradient of a strided
//! convolution is a convolution without stride.

use crate::ops::window::Axis;

/// The phases of one axis: input position `h = position*stride + phase` meets tap `r` of output position `p` where
/// `p*stride = h + padding - r*dilation`, so the taps of a phase are those with `r*dilation = phase + padding` modulo
/// `stride`: every `tap_step`-th tap, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Number of phases: the stride.
    pub count: usize,
    /// The largest number of positions of a phase.
    pub positions: usize,
    /// Distance from one tap of a phase to the next: `stride / gcd(stride, dilation)`.
    pub tap_step: usize,
    /// Inverse of `dilation / gcd(stride, dilation)` modulo `tap_step`: the first tap is `(phase + padding) / gcd *
    /// tap_inverse` modulo `tap_step`, if the gcd divides `phase + padding`.
    pub tap_inverse: usize,
    /// Distance from one tap of a phase to the next, in output positions: `dilation / gcd(stride, dilation)`.
    pub tap_dilation: usize,
    /// The largest number of taps of a phase.
    pub most_taps: usize,
    divisor: usize,
}

impl Phases {
    /// The phases of `axis`.
    pub fn new(axis: &Axis) -> Self {
        let divisor = gcd(axis.stride, axis.dilation);
        let tap_step = axis.stride / divisor;
        let tap_dilation = axis.dilation / divisor;
        Phases {
            count: axis.stride,
            positions: axis.input.div_ceil(axis.stride),
            tap_step,
            tap_inverse: inverse(tap_dilation, tap_step),
            tap_dilation,
            most_taps: axis.kernel.div_ceil(tap_step),
            divisor,
        }
    }

    /// The first tap of the phase of the position `padded`, counted from the start of the padding; `None` if that phase
    /// has no taps. The result may be past the last tap of the kernel.
    pub fn first_tap(&self, padded: usize) -> Option<usize> {
        let first = || padded / self.divisor % self.tap_step * self.tap_inverse % self.tap_step;
        padded.is_multiple_of(self.divisor).then(first)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The inverse of `number` modulo `modulus`, by Euclid's algorithm. Both are below 2^31 and have no common divisor.
fn inverse(number: usize, modulus: usize) -> usize {
    // `rest` is `factor * number` modulo the modulus, and likewise for the previous pair.
    let (mut rest_before, mut rest) = (modulus as i64, (number % modulus) as i64);
    let (mut factor_before, mut factor) = (0, 1);
    while rest != 0 {
        let quotient = rest_before / rest;
        (rest_before, rest) = (rest, rest_before - quotient * rest);
        (factor_before, factor) = (factor, factor_before - quotient * factor);
    }
    factor_before.rem_euclid(modulus as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_are_those_of_a_search() {
        for modulus in 1..=60 {
            for number in (1..=130).filter(|&number| gcd(number, modulus) == 1) {
                let searched = (0..modulus).find(|inverse| inverse * number % modulus == 1 % modulus);
                assert_eq!(Some(inverse(number, modulus)), searched, "{number} modulo {modulus}");
            }
        }
        let most = i32::MAX as usize;
        for number in [2, 3, most / 2, most - 1] {
            assert_eq!(inverse(number, most) * number % most, 1, "{number}");
        }
    }
}
