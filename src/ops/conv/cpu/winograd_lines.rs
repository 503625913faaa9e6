//! Winograd's transforms of one line, F(4,3): four outputs of a 3-tap filter from six inputs, with six products; and of
//! both axes of a tile.
//!
//! `output = output_line(input_line(x) * filter_line(g))`, by the Toom-Cook construction for the points 0, B, -B, A, -A
//! and infinity. [`winograd`](super::super::winograd) gives the error that this choice of points leads to.

use pulp::{Simd, WithSimd};

use crate::cpu::{load, load_mut, vectorized};

/// Squares and products of the points are exact in f32, so that the transforms of inputs and outputs are exact; only
/// the divisors of the filters are rounded.
const A: f32 = 1.5;
const B: f32 = 0.6875;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// Number of inputs of a line.
pub const INPUTS: usize = 6;

/// Number of outputs of a line.
pub const OUTPUTS: usize = 4;

/// The values at all points, from the even and odd parts of the values at B and at A.
#[inline(always)]
fn at_points<S: Simd>(
    simd: S,
    zero: S::f32s,
    [b_even, b_odd]: [S::f32s; 2],
    [a_even, a_odd]: [S::f32s; 2],
    infinity: S::f32s,
) -> [S::f32s; INPUTS] {
    [
        zero,
        simd.add_f32s(b_even, b_odd),
        simd.sub_f32s(b_even, b_odd),
        simd.add_f32s(a_even, a_odd),
        simd.sub_f32s(a_even, a_odd),
        infinity,
    ]
}

/// Transforms a line of inputs.
#[inline(always)]
pub fn input_line<S: Simd>(simd: S, x: [S::f32s; INPUTS]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let a_even = fma(-BB, x[2], x[4]);
    let a_odd = times(A, fma(-BB, x[1], x[3]));
    let b_even = fma(-AA, x[2], x[4]);
    let b_odd = times(B, fma(-AA, x[1], x[3]));
    let zero = fma(AA * BB, x[0], fma(-(AA + BB), x[2], x[4]));
    let infinity = fma(AA * BB, x[1], fma(-(AA + BB), x[3], x[5]));
    at_points(simd, zero, [b_even, b_odd], [a_even, a_odd], infinity)
}

/// Transforms a line of a filter.
#[inline(always)]
pub fn filter_line<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let a_even = times(1.0 / (2.0 * AA * (AA - BB)), fma(AA, g[2], g[0]));
    let a_odd = times(1.0 / (2.0 * A * (AA - BB)), g[1]);
    let b_even = times(1.0 / (2.0 * BB * (BB - AA)), fma(BB, g[2], g[0]));
    let b_odd = times(1.0 / (2.0 * B * (BB - AA)), g[1]);
    at_points(simd, times(1.0 / (AA * BB), g[0]), [b_even, b_odd], [a_even, a_odd], g[2])
}

/// Computes the outputs from a line of products.
#[inline(always)]
pub fn output_line<S: Simd>(simd: S, x: [S::f32s; INPUTS]) -> [S::f32s; OUTPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_sum = simd.add_f32s(x[1], x[2]);
    let b_difference = simd.sub_f32s(x[1], x[2]);
    let a_sum = simd.add_f32s(x[3], x[4]);
    let a_difference = simd.sub_f32s(x[3], x[4]);
    [
        simd.add_f32s(x[0], simd.add_f32s(b_sum, a_sum)),
        fma(B, b_difference, times(A, a_difference)),
        fma(BB, b_sum, times(AA, a_sum)),
        fma(BB * B, b_difference, fma(AA * A, a_difference, x[5])),
    ]
}

/// The gradients of a line's products from those of its outputs: the transpose of [`output_line`].
#[inline(always)]
pub fn grad_line<S: Simd>(simd: S, y: [S::f32s; OUTPUTS]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_even = fma(BB, y[2], y[0]);
    let b_odd = fma(BB * B, y[3], times(B, y[1]));
    let a_even = fma(AA, y[2], y[0]);
    let a_odd = fma(AA * A, y[3], times(A, y[1]));
    at_points(simd, y[0], [b_even, b_odd], [a_even, a_odd], y[3])
}

/// The gradient of a line of a filter from those of its transform: the transpose of [`filter_line`].
#[inline(always)]
pub fn filter_grad_line<S: Simd>(simd: S, u: [S::f32s; INPUTS]) -> [S::f32s; 3] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_sum = times(1.0 / (2.0 * BB * (BB - AA)), simd.add_f32s(u[1], u[2]));
    let b_difference = simd.sub_f32s(u[1], u[2]);
    let a_sum = times(1.0 / (2.0 * AA * (AA - BB)), simd.add_f32s(u[3], u[4]));
    let a_difference = simd.sub_f32s(u[3], u[4]);
    [
        fma(1.0 / (AA * BB), u[0], simd.add_f32s(b_sum, a_sum)),
        fma(1.0 / (2.0 * B * (BB - AA)), b_difference, times(1.0 / (2.0 * A * (AA - BB)), a_difference)),
        fma(BB, b_sum, fma(AA, a_sum, u[5])),
    ]
}

/// A transform of both axes of tiles, whose values are pixels of several channels: first of each line across, then of what
/// has become of them down. Implementations are `#[inline(always)]`, so that they are compiled for the vectors.
pub trait TileTransform<const FROM: usize, const TO: usize> {
    /// Number of tiles, down and across.
    fn counts(&self) -> [usize; 2];

    /// Number of channels of each pixel.
    fn channels(&self) -> usize;

    /// Reads a part of the channels of a tile's pixel, given its place down and across; `WHOLE` says that the part fills a
    /// vector.
    fn read<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        tile: [usize; 2],
        at: [usize; 2],
        part: PixelPart,
    ) -> S::f32s;

    /// Transforms a line.
    fn line<S: Simd>(simd: S, values: [S::f32s; FROM]) -> [S::f32s; TO];

    /// Writes a part of the channels of a tile's pixel after the transform, as in [`Self::read`].
    fn write<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        tile: [usize; 2],
        at: [usize; 2],
        part: PixelPart,
        value: S::f32s,
    );
}

/// Runs a transform on all tiles, on the calling thread.
pub fn transform_tiles<const FROM: usize, const TO: usize>(transform: &mut impl TileTransform<FROM, TO>) {
    vectorized(AllTiles(transform));
}

struct AllTiles<'a, T, const FROM: usize, const TO: usize>(&'a mut T);

impl<T: TileTransform<FROM, TO>, const FROM: usize, const TO: usize> WithSimd for AllTiles<'_, T, FROM, TO> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (channels, [down, across]) = (self.0.channels(), self.0.counts());
        // Out of the loop, so that it is cleared only once.
        let mut lines = CacheLines([[simd.splat_f32s(0.0); TO]; FROM]);
        for tile in (0..down).flat_map(|down| (0..across).map(move |across| [down, across])) {
            for first in (0..channels).step_by(S::F32_LANES) {
                let count = S::F32_LANES.min(channels - first);
                let part = PixelPart { first, count };
                if count == S::F32_LANES {
                    self.part::<S, true>(simd, tile, part, &mut lines.0);
                } else {
                    self.part::<S, false>(simd, tile, part, &mut lines.0);
                }
            }
        }
    }
}

impl<T: TileTransform<FROM, TO>, const FROM: usize, const TO: usize> AllTiles<'_, T, FROM, TO> {
    /// Transforms a part of the channels of a tile, with room for the lines between the axes.
    #[allow(clippy::needless_range_loop, reason = "the loops walk across lines, which lie the other way")]
    #[inline(always)]
    fn part<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        tile: [usize; 2],
        part: PixelPart,
        lines: &mut [[S::f32s; TO]; FROM],
    ) {
        for down in 0..FROM {
            let mut line = [simd.splat_f32s(0.0); FROM];
            for across in 0..FROM {
                line[across] = self.0.read::<S, WHOLE>(simd, tile, [down, across], part);
            }
            lines[down] = T::line(simd, line);
        }
        for across in 0..TO {
            let mut line = [simd.splat_f32s(0.0); FROM];
            for down in 0..FROM {
                line[down] = lines[down][across];
            }
            for (down, value) in T::line(simd, line).into_iter().enumerate() {
                self.0.write::<S, WHOLE>(simd, tile, [down, across], part, value);
            }
        }
    }
}

/// Values that are more than registers hold: from the start of a cache line on, so that no vector extends over two of them.
#[repr(align(64))]
struct CacheLines<T>(T);

/// The channels of a pixel that a vector holds.
#[derive(Clone, Copy)]
pub struct PixelPart {
    /// The first of them.
    first: usize,
    /// Their number: that of a vector's lanes unless the pixel ends before.
    count: usize,
}

impl PixelPart {
    /// Reads the part of the pixel that starts at `pixel`; `WHOLE` says that it fills a vector.
    #[inline(always)]
    pub fn read<S: Simd, const WHOLE: bool>(self, simd: S, values: &[f32], pixel: usize) -> S::f32s {
        let values = &values[pixel + self.first..];
        if WHOLE { load::<S>(values) } else { simd.partial_load_f32s(&values[..self.count]) }
    }

    /// Writes the part of the pixel that starts at `pixel`; `WHOLE` says that it fills a vector.
    #[inline(always)]
    pub fn write<S: Simd, const WHOLE: bool>(
        self,
        simd: S,
        values: &mut [f32],
        pixel: usize,
        vector: S::f32s,
    ) {
        let values = &mut values[pixel + self.first..];
        if WHOLE {
            *load_mut::<S>(values) = vector;
        } else {
            simd.partial_store_f32s(&mut values[..self.count], vector);
        }
    }
}
