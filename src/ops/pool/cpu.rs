//! Pools of one image, with the channels of a window in vectors, and the remaining channels one by one.

use pulp::{Simd, WithSimd};

use super::PoolGeometry;
use super::geometry::Pixels;
use crate::cpu::{load, load_mut};

/// The largest value of each window; a NaN counts as the largest.
pub struct Largest<'a> {
    /// The sizes.
    pub geometry: &'a PoolGeometry,
    /// The image.
    pub input: &'a [f32],
    /// Receives a value for each window and channel.
    pub output: &'a mut [f32],
}

/// The gradient of an image whose windows were reduced to their largest values: that of each window is added to the
/// first largest value.
pub struct GradToLargest<'a> {
    /// The sizes.
    pub geometry: &'a PoolGeometry,
    /// The image.
    pub input: &'a [f32],
    /// A gradient for each window and channel.
    pub grad_output: &'a [f32],
    /// Zeros, to which the gradients are added; the content is arbitrary if windows contain each pixel once.
    pub grad_input: &'a mut [f32],
}

#[inline(always)]
fn is_nan<S: Simd>(simd: S, values: S::f32s) -> S::m32s {
    simd.not_m32s(simd.equal_f32s(values, values))
}

/// The largest values under a window, for a vector of channels.
#[inline(always)]
fn largest<S: Simd>(simd: S, input: &[f32], pixels: Pixels, channels: usize, c: usize) -> S::f32s {
    let mut best = simd.splat_f32s(f32::NEG_INFINITY);
    for pixel in pixels.iter() {
        let values = load::<S>(&input[pixel * channels + c..]);
        let larger = simd.or_m32s(simd.less_than_f32s(best, values), is_nan(simd, values));
        best = simd.select_f32s(larger, values, best);
    }
    best
}

/// The largest value under a window, for one channel.
#[inline(always)]
fn largest_of_one(input: &[f32], pixels: Pixels, channels: usize, c: usize) -> f32 {
    let values = pixels.iter().map(|pixel| input[pixel * channels + c]);
    values.fold(f32::NEG_INFINITY, |best, value| if value > best || value.is_nan() { value } else { best })
}

impl WithSimd for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Largest { geometry, input, output } = self;
        let channels = geometry.channels;
        let whole = channels / S::F32_LANES * S::F32_LANES;
        geometry.for_each_window(
            #[inline(always)]
            |window, pixels| {
                let output = &mut output[window * channels..][..channels];
                for c in (0..whole).step_by(S::F32_LANES) {
                    *load_mut::<S>(&mut output[c..]) = largest(simd, input, pixels, channels, c);
                }
                for (c, output) in output.iter_mut().enumerate().skip(whole) {
                    *output = largest_of_one(input, pixels, channels, c);
                }
            },
        );
    }
}

impl WithSimd for GradToLargest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradToLargest { geometry, input, grad_output, grad_input } = self;
        let channels = geometry.channels;
        let whole = channels / S::F32_LANES * S::F32_LANES;
        let zero = simd.splat_f32s(0.0);
        let adds = !geometry.meets_each_pixel_once();
        geometry.for_each_window(
            #[inline(always)]
            |window, pixels| {
                let grad_output = &grad_output[window * channels..][..channels];
                for c in (0..whole).step_by(S::F32_LANES) {
                    let best = largest(simd, input, pixels, channels, c);
                    // The gradients that no winner has received yet. A NaN is not equal to anything, but wins.
                    let mut grad = load::<S>(&grad_output[c..]);
                    for at in pixels.iter().map(|pixel| pixel * channels + c) {
                        let values = load::<S>(&input[at..]);
                        let wins = simd.or_m32s(simd.equal_f32s(values, best), is_nan(simd, values));
                        let won = simd.select_f32s(wins, grad, zero);
                        let sum = load_mut::<S>(&mut grad_input[at..]);
                        *sum = if adds { simd.add_f32s(*sum, won) } else { won };
                        grad = simd.select_f32s(wins, zero, grad);
                    }
                }
                for (c, grad) in grad_output.iter().enumerate().skip(whole) {
                    let best = largest_of_one(input, pixels, channels, c);
                    let places = pixels.iter().map(|pixel| pixel * channels + c);
                    let winner = places.clone().find(|&at| input[at] == best || input[at].is_nan());
                    if !adds {
                        places.for_each(|at| grad_input[at] = 0.0);
                    }
                    grad_input[winner.expect("a window that meets the input")] += grad;
                }
            },
        );
    }
}
