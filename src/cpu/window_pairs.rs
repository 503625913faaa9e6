//! Sums over windows of two products in turn: those of an input gradient at stride 2, where every second result is in the
//! same phase.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::panels::Bounds;
use super::simd::{load, put_rows, vectorized};
use super::windows::{Planes, WindowProduct, Windows, unrolled, window_at};

/// Two products whose windows meet the same places, each channel by itself, so that each value is read once for both, and
/// results that lie next to each other are written together: where neither is in a cache, the CPU foresees what comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    /// The second has no more windows across than the first.
    products: [&'a WindowProduct<'a>; 2],
    shape: Shape,
}

/// How windows of a pair meet the places of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Number of taps of each across.
    taps: [usize; 2],
    /// The place of each one's first tap, from the first place of both.
    first: [usize; 2],
}

impl<'a> Pair<'a> {
    /// A pair, if these products are one. Kernels of three or five taps across make one, whatever their padding.
    pub(super) fn new(one: &'a WindowProduct<'a>, other: &'a WindowProduct<'a>) -> Option<Self> {
        let [a, b] = [one, other].map(|product| &product.windows);
        let [across, across_of_other] = [a.bounds[1], b.bounds[1]];
        let is_alike = a.bounds[0] == b.bounds[0]
            && [a.counts[0], a.taps[0], across.positions]
                == [b.counts[0], b.taps[0], across_of_other.positions]
            && [a.source_steps, a.result_steps] == [b.source_steps, b.result_steps]
            && one.filters.channels == other.filters.channels;
        let is_dense = [a, b].iter().all(|windows| {
            let Bounds { row_step, run_step, .. } = windows.bounds[1];
            matches!(windows.planes, Planes::Group(1))
                && row_step == 1
                && (run_step == 1 || windows.taps[1] == 1)
        });
        if !is_alike || !is_dense || a.counts[1] < b.counts[1] {
            return None;
        }
        let first = across.first.min(across_of_other.first);
        let first = [across, across_of_other].map(|across| (across.first - first) as usize);
        let shape = Shape { taps: [a.taps[1], b.taps[1]], first };
        SHAPES.contains(&shape).then_some(Pair { products: [one, other], shape })
    }

    /// Number of windows across that both have.
    pub(super) fn across(&self) -> usize {
        self.products[1].windows.counts[1]
    }

    /// Computes the sums of both, for as many windows across as both have, on the calling thread.
    pub(super) fn multiply(&self, source: &[f32], result: &mut [f32]) {
        vectorized(Product { pair: self, source, result });
    }
}

/// The shapes that are compiled: three taps with and without padding before them, five with two places of padding and one.
const SHAPES: [Shape; 4] = [
    Shape { taps: [1, 2], first: [0, 0] },
    Shape { taps: [2, 1], first: [0, 1] },
    Shape { taps: [3, 2], first: [0, 1] },
    Shape { taps: [2, 3], first: [0, 0] },
];

struct Product<'a> {
    pair: &'a Pair<'a>,
    source: &'a [f32],
    result: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Shape { taps: [a, b], first } = self.pair.shape;
        match (a, b, first) {
            (1, 2, [0, 0]) => self.run::<S, 1, 2, 0, 0>(simd),
            (2, 1, [0, 1]) => self.run::<S, 2, 1, 0, 1>(simd),
            (3, 2, [0, 1]) => self.run::<S, 3, 2, 0, 1>(simd),
            (2, 3, [0, 0]) => self.run::<S, 2, 3, 0, 0>(simd),
            _ => unreachable!("{:?} is not one of the shapes", self.pair.shape),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd, const A: usize, const B: usize, const FIRST_A: usize, const FIRST_B: usize>(
        &mut self,
        simd: S,
    ) {
        // Tiles of as many sums as leave registers for the filters and for a value. Of two that have as many, that with
        // the longer pixels, whose lines of the cache lie next to each other.
        let channels = self.pair.products[0].filters.channels;
        let is_whole = |vectors: usize| channels.is_multiple_of(vectors * S::F32_LANES);
        match S::REGISTER_COUNT {
            32.. if const { A + B <= 3 } && is_whole(4) => {
                self.run_tiles::<S, A, B, FIRST_A, FIRST_B, 2, 4>(simd);
            }
            32.. if is_whole(2) => self.run_tiles::<S, A, B, FIRST_A, FIRST_B, 4, 2>(simd),
            32.. => self.run_tiles::<S, A, B, FIRST_A, FIRST_B, 7, 1>(simd),
            _ if const { A + B <= 3 } && is_whole(2) => {
                self.run_tiles::<S, A, B, FIRST_A, FIRST_B, 2, 2>(simd);
            }
            _ => self.run_tiles::<S, A, B, FIRST_A, FIRST_B, 4, 1>(simd),
        }
    }

    #[inline(always)]
    fn run_tiles<
        S: Simd,
        const A: usize,
        const B: usize,
        const FIRST_A: usize,
        const FIRST_B: usize,
        const COUNT: usize,
        const VECTORS: usize,
    >(
        &mut self,
        simd: S,
    ) {
        let [rows, across] = self.pair.products[1].windows.counts;
        let whole = across / COUNT * COUNT;
        for row in 0..rows {
            let product = &mut *self;
            let windows = 0..whole;
            simd.vectorize(Tiles::<A, B, FIRST_A, FIRST_B, COUNT, VECTORS> { product, row, windows });
            let (product, windows) = (&mut *self, whole..across);
            simd.vectorize(Tiles::<A, B, FIRST_A, FIRST_B, 1, VECTORS> { product, row, windows });
        }
    }
}

/// Windows of each in a row, all channels: `COUNT` neighbouring ones and `VECTORS` vectors of their channels at a time, with the
/// sums in registers, in a function of its own that is compiled for the vectors.
struct Tiles<
    'a,
    'b,
    const A: usize,
    const B: usize,
    const FIRST_A: usize,
    const FIRST_B: usize,
    const COUNT: usize,
    const VECTORS: usize,
> {
    product: &'a mut Product<'b>,
    row: usize,
    windows: Range<usize>,
}

impl<
    const A: usize,
    const B: usize,
    const FIRST_A: usize,
    const FIRST_B: usize,
    const COUNT: usize,
    const VECTORS: usize,
> WithSimd for Tiles<'_, '_, A, B, FIRST_A, FIRST_B, COUNT, VECTORS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Tiles { product: Product { pair, source, result }, row, windows } = self;
        let [one, other] = pair.products;
        let Windows { taps, bounds: [down, across], source_steps, result_steps, .. } = one.windows;
        let (pitch, channels) = (one.filters.pitch(), one.filters.channels);
        let places = COUNT - 1 + (FIRST_A + A).max(FIRST_B + B);
        let lines = down.runs_inside(row, taps[0]);
        for window in windows.step_by(COUNT) {
            // The first place that the windows meet, and, for each, whether it is inside the image.
            let first = across.position(window, 0) - FIRST_A as isize;
            let inside = Bounds { first, row_step: 0, run_step: 1, ..across }.runs_inside(0, places);
            let inside = if inside.is_empty() { 0 } else { (1u32 << inside.end) - (1 << inside.start) };
            let written = row * result_steps[0] + window * result_steps[1];
            for vector in (0..pitch / S::F32_LANES).step_by(VECTORS) {
                let channel = vector * S::F32_LANES;
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; COUNT];
                let mut other_sums = [[simd.splat_f32s(0.0); VECTORS]; COUNT];
                for r in lines.clone() {
                    let filters =
                        filters_of::<S, A, VECTORS>(simd, &one.packed[r * A * pitch + channel..], pitch);
                    let others =
                        filters_of::<S, B, VECTORS>(simd, &other.packed[r * B * pitch + channel..], pitch);
                    let line = down.position(row, r) * source_steps[0] as isize;
                    let mut place = (line + first * source_steps[1] as isize + channel as isize) as usize;
                    unrolled!(PLACE in 0..COUNT - 1 + const { most(FIRST_A + A, FIRST_B + B) } => {
                        if inside & (1 << PLACE) != 0 {
                            let values = &source[place..];
                            for v in 0..VECTORS {
                                let values = load::<S>(&values[v * S::F32_LANES..]);
                                for (tap, filter) in filters.iter().enumerate() {
                                    let window = window_at(PLACE, FIRST_A + tap, 1);
                                    if let Some(sum) = window.and_then(|window| sums.get_mut(window)) {
                                        sum[v] = simd.mul_add_e_f32s(values, filter[v], sum[v]);
                                    }
                                }
                                for (tap, filter) in others.iter().enumerate() {
                                    let window = window_at(PLACE, FIRST_B + tap, 1);
                                    if let Some(sum) = window.and_then(|window| other_sums.get_mut(window)) {
                                        sum[v] = simd.mul_add_e_f32s(values, filter[v], sum[v]);
                                    }
                                }
                            }
                        }
                        place = place.wrapping_add(source_steps[1]);
                    });
                }
                // Copies, so that the sums themselves stay in registers.
                let (done, others_done) = (sums, other_sums);
                let columns = (VECTORS * S::F32_LANES).min(channels - channel);
                let result = &mut result[written + channel..];
                put_rows(simd, &mut result[one.first..], result_steps[1], columns, &done, false);
                put_rows(simd, &mut result[other.first..], result_steps[1], columns, &others_done, false);
            }
        }
    }
}

/// The filters of `TAPS` taps, `pitch` values apart.
#[inline(always)]
fn filters_of<S: Simd, const TAPS: usize, const VECTORS: usize>(
    simd: S,
    mut packed: &[f32],
    pitch: usize,
) -> [[S::f32s; VECTORS]; TAPS] {
    let mut filters = [[simd.splat_f32s(0.0); VECTORS]; TAPS];
    for (tap, filter) in filters.iter_mut().enumerate() {
        if tap > 0 {
            packed = &packed[pitch..];
        }
        for (v, filter) in filter.iter_mut().enumerate() {
            *filter = load::<S>(&packed[v * S::F32_LANES..]);
        }
    }
    filters
}

const fn most(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::super::simd::lanes;
    use super::super::windows::tests::{expected, integers};
    use super::super::windows::{ChannelFilters, multiply_windows};
    use super::*;

    #[test]
    fn sums_of_pairs_are_exact_on_integers() {
        for Shape { taps, first } in SHAPES {
            for (counts, more, channels, start) in [
                ([1, 1], 0, 1, [0, 0]),
                ([3, 14], 0, 5, [-1, -1]),
                ([2, 29], 1, 16, [0, -2]),
                ([4, 8], 1, 33, [-1, 25]),
                ([2, 6], 0, 17, [3, 40]),
                ([2, 3], 1, 2, [-1, -40]),
                ([3, 13], 1, 64, [-1, -1]),
                ([2, 9], 1, 32, [-2, -3]),
                ([2, 15], 0, 96, [0, 20]),
            ] {
                let source = integers(32 * 8 * channels + lanes(), 5, 11);
                let value = |tap, channel| (tap * 3 + channel * 7) as f32 % 5.0 - 2.0;
                let filters = taps.map(|taps| ChannelFilters { taps: 2 * taps, channels });
                let packed = filters.map(|filters| {
                    let mut packed = vec![f32::NAN; filters.elements()];
                    filters.pack(|tap| (0..channels).map(move |channel| value(tap, channel)), &mut packed);
                    packed
                });
                let products: [WindowProduct<'_>; 2] = std::array::from_fn(|number| {
                    let bounds = |first, positions| Bounds { first, row_step: 1, run_step: 1, positions };
                    let across = bounds(start[1] + first[number] as isize, 31);
                    let windows = Windows {
                        counts: [counts[0], counts[1] + if number == 0 { more } else { 0 }],
                        taps: [2, taps[number]],
                        bounds: [bounds(start[0], 8), across],
                        source_steps: [32 * channels, channels],
                        result_steps: [80 * channels, 2 * channels],
                        planes: Planes::Group(1),
                    };
                    let first = number * channels;
                    let (filters, packed) = (filters[number], &packed[number][..]);
                    WindowProduct { windows, filters, packed, first, is_far: [false; 2] }
                });
                assert!(Pair::new(&products[0], &products[1]).is_some());
                let mut found = vec![0.5; 80 * 4 * channels];
                let mut right = found.clone();
                multiply_windows(&source, products.into_iter(), &mut found);
                for product in &products {
                    let [rows, columns] = product.windows.counts;
                    for (p, q) in (0..rows).flat_map(|p| (0..columns).map(move |q| (p, q))) {
                        for k in 0..channels {
                            let sum = expected(&product.windows, &source, [p, q], k, |tap| value(tap, k));
                            right[product.first + (p * 80 + q * 2) * channels + k] = sum;
                        }
                    }
                }
                assert_eq!(found, right, "{taps:?}, {counts:?} windows");
            }
        }
    }
}
