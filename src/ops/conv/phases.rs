//! Input positions by their remainder by the stride: within such a phase, a strided convolution's input
//! gradient is a dense one.

use crate::ops::window::Axis;

/// The phases of one axis: input position `h = position*stride + phase` meets tap `r` of output position `p` where
/// `p*stride = h + padding - r*dilation`, so the taps of a phase are those with
/// `r*dilation = phase + padding` modulo `stride`: each `tap_step`-th tap, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Phases: the stride.
    pub count: usize,
    /// Positions of a phase, at most.
    pub positions: usize,
    /// From one tap of a phase to the next: `stride / gcd(stride, dilation)`.
    pub tap_step: usize,
    /// Inverse of `dilation / gcd(stride, dilation)` modulo `tap_step`: the first tap is
    /// `(phase + padding) / gcd * tap_inverse` modulo `tap_step`, where the gcd divides `phase + padding`.
    pub tap_inverse: usize,
    /// Taps of a phase, at most.
    pub most_taps: usize,
}

impl Phases {
    /// The phases of `axis`.
    pub fn new(axis: &Axis) -> Self {
        let divisor = greatest_common_divisor(axis.stride, axis.dilation);
        let tap_step = axis.stride / divisor;
        let dilation = axis.dilation / divisor;
        let inverse = (0..tap_step).find(|inverse| inverse * dilation % tap_step == 1 % tap_step);
        Phases {
            count: axis.stride,
            positions: axis.input.div_ceil(axis.stride),
            tap_step,
            tap_inverse: inverse.expect("numbers without a common divisor have an inverse"),
            most_taps: axis.kernel.div_ceil(tap_step),
        }
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
