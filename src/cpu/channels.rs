//! Sums of products for each channel separately, as in depthwise convolutions.

use pulp::{Simd, WithSimd};

use super::outer::Positions;
use super::panels::Rows;
use super::simd::{lanes, load, put, vectorized};

/// The packed layout of filters of one channel each: `[taps, channels]`, the channels of each tap padded with zeros to
/// whole vectors.
#[derive(Clone, Copy, Debug)]
pub struct ChannelFilters {
    /// Number of terms of each sum.
    pub taps: usize,
    /// Channels of the source and of the result.
    pub channels: usize,
}

impl ChannelFilters {
    /// Distance from one tap to the next, in elements.
    fn pitch(&self) -> usize {
        self.channels.next_multiple_of(lanes())
    }

    /// Number of packed elements, padding included.
    pub fn elements(&self) -> usize {
        self.taps * self.pitch()
    }

    /// Packs the filters: `values(tap)` returns those of all channels at a tap.
    pub fn pack<V: Iterator<Item = f32>>(&self, values: impl Fn(usize) -> V, packed: &mut [f32]) {
        for (tap, packed) in packed.chunks_exact_mut(self.pitch()).enumerate() {
            let (channels, rest) = packed.split_at_mut(self.channels);
            for (packed, value) in channels.iter_mut().zip(values(tap)) {
                *packed = value;
            }
            rest.fill(0.0);
        }
    }
}

impl Rows {
    /// `result[row][c] = sum over runs of source[row + run + c] * filters[run][c]`, on the calling thread, where
    /// `packed` holds the filters; elements between the rows are left unchanged.
    ///
    /// # Panics
    /// If the sizes do not fit each other: a bug of the caller. `source` must be one vector longer than the values
    /// used.
    pub fn multiply_channels(
        &self,
        source: &[f32],
        filters: &ChannelFilters,
        packed: &[f32],
        result: &mut [f32],
    ) {
        assert_eq!(self.runs[0] * self.runs[1], filters.taps, "length of the sums");
        vectorized(ChannelProduct { rows: self, source, filters, packed, result });
    }
}

struct ChannelProduct<'a> {
    rows: &'a Rows,
    source: &'a [f32],
    filters: &'a ChannelFilters,
    packed: &'a [f32],
    result: &'a mut [f32],
}

impl WithSimd for ChannelProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Rows { counts, source_steps, runs, run_steps, .. } = *self.rows;
        // Neighbouring windows share values if each starts one tap after the one before.
        let shared = if run_steps[1] == source_steps[1] { runs[1] } else { 0 };
        for down in 0..counts[0] {
            let mut first = 0;
            while first < counts[1] {
                first += match (counts[1] - first, shared) {
                    // Fourteen columns are twice seven, rather than eight, four and two.
                    (7 | 14, 3) => tile_in::<S, 7, 3>(simd, &mut self, down, first),
                    (8.., 2) => tile_in::<S, 8, 2>(simd, &mut self, down, first),
                    (8.., 3) => tile_in::<S, 8, 3>(simd, &mut self, down, first),
                    (8.., 5) => tile_in::<S, 8, 5>(simd, &mut self, down, first),
                    (8.., 4..) => tile_in::<S, 8, PARTLY>(simd, &mut self, down, first),
                    (8.., _) => tile_in::<S, 8, 1>(simd, &mut self, down, first),
                    (4.., 3) => tile_in::<S, 4, 3>(simd, &mut self, down, first),
                    (4.., 5) => tile_in::<S, 4, 5>(simd, &mut self, down, first),
                    (4.., _) => tile_in::<S, 4, 1>(simd, &mut self, down, first),
                    (2.., _) => tile_in::<S, 2, 1>(simd, &mut self, down, first),
                    _ => tile_in::<S, 1, 1>(simd, &mut self, down, first),
                };
            }
        }
    }
}

/// The number of overlapping taps that stands for [`ChannelProduct::partly_overlapping_tile`].
const PARTLY: usize = 4;

/// Computes a tile, in a function of its own that is compiled for the vectors of `simd`. Returns `ROWS`.
#[inline(always)]
fn tile_in<S: Simd, const ROWS: usize, const TAPS: usize>(
    simd: S,
    product: &mut ChannelProduct<'_>,
    down: usize,
    first: usize,
) -> usize {
    simd.vectorize(ChannelTile::<ROWS, TAPS> { product, down, first })
}

/// `ROWS` neighbouring rows, of whose windows `TAPS` taps overlap.
struct ChannelTile<'a, 'b, const ROWS: usize, const TAPS: usize> {
    product: &'a mut ChannelProduct<'b>,
    down: usize,
    first: usize,
}

impl<const ROWS: usize, const TAPS: usize> WithSimd for ChannelTile<'_, '_, ROWS, TAPS> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let ChannelTile { product, down, first } = self;
        match TAPS {
            1 => product.tile::<S, ROWS>(simd, down, first),
            PARTLY => product.partly_overlapping_tile::<S, ROWS, 3>(simd, down, first),
            _ => product.overlapping_tile::<S, ROWS, TAPS>(simd, down, first),
        }
    }
}

impl ChannelProduct<'_> {
    /// Computes `ROWS` neighbouring rows, all channels, with the sums in registers. Returns `ROWS`.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, down: usize, first: usize) -> usize {
        let Rows { source_steps, runs, run_steps, .. } = *self.rows;
        let pitch = self.filters.pitch();
        self.for_each_vector::<S, ROWS>(simd, down, first, |source, packed| {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for r in 0..runs[0] {
                for s in 0..runs[1] {
                    let filter = load::<S>(&packed[(r * runs[1] + s) * pitch..]);
                    let source = &source[r * run_steps[0] + s * run_steps[1]..];
                    for (row, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add_e_f32s(load::<S>(&source[row * source_steps[1]..]), filter, *sum);
                    }
                }
            }
            sums
        })
    }

    /// As [`Self::tile`], for windows of `TAPS` taps across that start one tap apart: each value is read once for all
    /// windows.
    #[inline(always)]
    fn overlapping_tile<S: Simd, const ROWS: usize, const TAPS: usize>(
        &mut self,
        simd: S,
        down: usize,
        first: usize,
    ) -> usize {
        let Rows { runs, run_steps, .. } = *self.rows;
        let pitch = self.filters.pitch();
        self.for_each_vector::<S, ROWS>(simd, down, first, |source, packed| {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for r in 0..runs[0] {
                let (packed, source) = (&packed[r * TAPS * pitch..], &source[r * run_steps[0]..]);
                if TAPS > 3 {
                    add_walking::<S, ROWS, TAPS>(simd, source, run_steps[1], packed, pitch, &mut sums);
                } else {
                    add_overlapping::<S, ROWS, TAPS>(simd, source, run_steps[1], packed, pitch, &mut sums);
                }
            }
            sums
        })
    }

    /// As [`Self::overlapping_tile`], for wider windows: each value is read once for every `TAPS` taps across.
    #[inline(always)]
    fn partly_overlapping_tile<S: Simd, const ROWS: usize, const TAPS: usize>(
        &mut self,
        simd: S,
        down: usize,
        first: usize,
    ) -> usize {
        let Rows { runs, run_steps, .. } = *self.rows;
        let (pitch, step) = (self.filters.pitch(), run_steps[1]);
        self.for_each_vector::<S, ROWS>(simd, down, first, |source, packed| {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for r in 0..runs[0] {
                let (packed, source) = (&packed[r * runs[1] * pitch..], &source[r * run_steps[0]..]);
                let together = runs[1] / TAPS * TAPS;
                for s in (0..together).step_by(TAPS) {
                    let (packed, source) = (&packed[s * pitch..], &source[s * step..]);
                    add_overlapping::<S, ROWS, TAPS>(simd, source, step, packed, pitch, &mut sums);
                }
                for s in together..runs[1] {
                    let (packed, source) = (&packed[s * pitch..], &source[s * step..]);
                    add_overlapping::<S, ROWS, 1>(simd, source, step, packed, pitch, &mut sums);
                }
            }
            sums
        })
    }

    /// Writes the sums that `of` returns for each vector of channels. `of` is given the source from the tile's start
    /// and the filters, both from that vector on. Returns `ROWS`.
    #[inline(always)]
    fn for_each_vector<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        down: usize,
        first: usize,
        of: impl Fn(&[f32], &[f32]) -> [S::f32s; ROWS],
    ) -> usize {
        let ChannelProduct { rows, source, filters, packed, result } = self;
        let at = |steps: [usize; 2]| down * steps[0] + first * steps[1];
        let (source, result) = (&source[at(rows.source_steps)..], &mut result[at(rows.result_steps)..]);
        for vector in 0..filters.pitch() / S::F32_LANES {
            let channel = vector * S::F32_LANES;
            let sums = of(&source[channel..], &packed[channel..]);
            for (row, sum) in sums.into_iter().enumerate() {
                let result = &mut result[row * rows.result_steps[1]..][..filters.channels];
                put(simd, result, vector, sum, false);
            }
        }
        ROWS
    }
}

/// `sums[row] += sum over taps of source[(row + tap)*step] * filters[tap]`, for one vector of channels.
#[inline(always)]
fn add_overlapping<S: Simd, const ROWS: usize, const TAPS: usize>(
    simd: S,
    source: &[f32],
    step: usize,
    packed: &[f32],
    pitch: usize,
    sums: &mut [S::f32s; ROWS],
) {
    let filter: [S::f32s; TAPS] = std::array::from_fn(|tap| load::<S>(&packed[tap * pitch..]));
    for at in 0..ROWS + TAPS - 1 {
        add_to_windows(simd, at, load::<S>(&source[at * step..]), &filter, sums);
    }
}

/// As [`add_overlapping`], for many taps: places are walked to, one after the other. If each were computed from the start,
/// it would take a register of its own.
#[inline(always)]
fn add_walking<S: Simd, const ROWS: usize, const TAPS: usize>(
    simd: S,
    mut source: &[f32],
    step: usize,
    mut packed: &[f32],
    pitch: usize,
    sums: &mut [S::f32s; ROWS],
) {
    let mut filter = [simd.splat_f32s(0.0); TAPS];
    for (tap, filter) in filter.iter_mut().enumerate() {
        if tap > 0 {
            packed = &packed[pitch..];
        }
        *filter = load::<S>(packed);
    }
    for at in 0..ROWS + TAPS - 1 {
        if at > 0 {
            source = &source[step..];
        }
        add_to_windows(simd, at, load::<S>(source), &filter, sums);
    }
}

/// Adds the products of the values at place `at` to the sums of all windows that they lie in.
#[inline(always)]
fn add_to_windows<S: Simd, const ROWS: usize, const TAPS: usize>(
    simd: S,
    at: usize,
    values: S::f32s,
    filter: &[S::f32s; TAPS],
    sums: &mut [S::f32s; ROWS],
) {
    for (tap, &filter) in filter.iter().enumerate() {
        if let Some(sum) = at.checked_sub(tap).and_then(|row| sums.get_mut(row)) {
            *sum = simd.mul_add_e_f32s(values, filter, *sum);
        }
    }
}

/// The largest number of taps whose sums [`add_channel_products`] holds in registers.
const MOST_TAPS: usize = 4;

/// `sums[tap][c] += sum over positions of left[position + tap*tap_step + c] * right[position + c]`, on the calling
/// thread, in the order of positions.
///
/// # Panics
/// If the sizes do not fit each other: a bug of the caller. `left` and `right` must be two vectors longer than the
/// values used.
pub fn add_channel_products(
    positions: &Positions,
    left: &[f32],
    tap_step: usize,
    right: &[f32],
    channels: usize,
    sums: &mut [f32],
) {
    let taps = sums.len() / channels;
    let pieces = taps.div_ceil(MOST_TAPS);
    let (mut left, mut sums) = (left, sums);
    for piece in 0..pieces {
        let (now, later) = sums.split_at_mut(sums.len() / channels / (pieces - piece) * channels);
        let taps = now.len() / channels;
        vectorized(Sums { positions, left, tap_step, right, channels, sums: now });
        sums = later;
        left = left.get(taps * tap_step..).unwrap_or_default();
    }
}

struct Sums<'a> {
    positions: &'a Positions,
    left: &'a [f32],
    tap_step: usize,
    right: &'a [f32],
    channels: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = self.channels.div_ceil(S::F32_LANES);
        let taps = self.sums.len() / self.channels;
        for vector in (0..vectors).step_by(2) {
            match (taps, vectors - vector) {
                (1, 1) => self.tile::<S, 1, 1>(simd, vector),
                (2, 1) => self.tile::<S, 2, 1>(simd, vector),
                (3, 1) => self.tile::<S, 3, 1>(simd, vector),
                (4, 1) => self.tile::<S, 4, 1>(simd, vector),
                (1, _) => self.tile::<S, 1, 2>(simd, vector),
                (2, _) => self.tile::<S, 2, 2>(simd, vector),
                (3, _) => self.tile::<S, 3, 2>(simd, vector),
                (4, _) => self.tile::<S, 4, 2>(simd, vector),
                (taps, _) => unreachable!("{taps} taps"),
            }
        }
    }
}

impl Sums<'_> {
    /// Computes one or two vectors of channels, with the sums in registers.
    #[inline(always)]
    fn tile<S: Simd, const TAPS: usize, const VECTORS: usize>(&mut self, simd: S, first: usize) {
        let Sums { positions, left, tap_step, right, channels, sums } = self;
        let Positions { counts, left_steps, right_steps } = **positions;
        let channel = first * S::F32_LANES;
        let mut registers = [[simd.splat_f32s(0.0); VECTORS]; TAPS];
        positions.for_each_line(|left_start, right_start| {
            let (left, right) = (&left[channel + left_start..], &right[channel + right_start..]);
            // What is left is cut off step by step: places computed from the start would each take a register of their own.
            let (mut lefts, mut rights) = (left, right);
            for across in 0..counts[2] {
                if across > 0 {
                    (lefts, rights) = (&lefts[left_steps[2]..], &rights[right_steps[2]..]);
                }
                let (mut left, right) = (lefts, rights);
                let right: [S::f32s; VECTORS] =
                    std::array::from_fn(|vector| load::<S>(&right[vector * S::F32_LANES..]));
                for (tap, registers) in registers.iter_mut().enumerate() {
                    if tap > 0 {
                        left = &left[*tap_step..];
                    }
                    for (vector, register) in registers.iter_mut().enumerate() {
                        let left = load::<S>(&left[vector * S::F32_LANES..]);
                        *register = simd.mul_add_e_f32s(left, right[vector], *register);
                    }
                }
            }
        });
        for (sums, registers) in sums.chunks_exact_mut(*channels).zip(registers) {
            for (vector, sum) in registers.into_iter().enumerate() {
                put(simd, sums, first + vector, sum, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(count: usize, factor: usize, modulus: usize) -> Vec<f32> {
        (0..count).map(|i| (i * factor % modulus) as f32 - (modulus / 2) as f32).collect()
    }

    #[test]
    fn products_are_exact_on_integers_and_leave_the_gaps_alone() {
        // Windows that start one tap apart (those with a tap step of 2), and others.
        for (counts, channels, runs, tap_step) in [
            ([2, 15], 3, [3, 3], 3),
            ([1, 1], 16, [1, 1], 2),
            ([3, 4], 33, [2, 5], 3),
            ([2, 11], 47, [1, 3], 2),
            ([1, 15], 16, [3, 3], 2),
            ([2, 14], 20, [2, 5], 2),
            ([1, 9], 35, [2, 7], 2),
            ([2, 13], 17, [2, 4], 2),
            ([1, 15], 17, [2, 2], 2),
        ] {
            let filters = ChannelFilters { taps: runs[0] * runs[1], channels };
            let rows = Rows {
                counts,
                source_steps: [40 * channels, 2 * channels],
                result_steps: [20 * channels, channels + 1],
                runs,
                run_steps: [40 * channels, tap_step * channels],
                run_length: 1,
                bounds: None,
            };
            let source = integers(300 * channels, 5, 11);
            let value = |tap, channel| (tap * 3 + channel * 7) as f32 % 5.0 - 2.0;
            let mut packed = vec![f32::NAN; filters.elements()];
            filters.pack(|tap| (0..channels).map(move |channel| value(tap, channel)), &mut packed);
            let mut found = vec![0.5; 100 * channels];
            let mut expected = found.clone();
            rows.multiply_channels(&source, &filters, &packed, &mut found);
            for (p, q) in (0..counts[0]).flat_map(|p| (0..counts[1]).map(move |q| (p, q))) {
                for c in 0..channels {
                    let term = |(r, s): (usize, usize)| {
                        let at = (p * 40 + q * 2 + r * 40 + s * tap_step) * channels + c;
                        source[at] * value(r * runs[1] + s, c)
                    };
                    let taps = (0..runs[0]).flat_map(|r| (0..runs[1]).map(move |s| (r, s)));
                    expected[p * 20 * channels + q * (channels + 1) + c] = taps.map(term).sum();
                }
            }
            assert_eq!(found, expected, "{counts:?} {channels} {runs:?} {tap_step}");
        }
    }

    #[test]
    fn sums_are_exact_on_integers() {
        for (counts, channels, taps) in
            [([1, 2, 5], 3, 1), ([1, 1, 1], 16, 2), ([2, 3, 4], 33, 5), ([3, 2, 11], 47, 7)]
        {
            let positions = Positions {
                counts,
                left_steps: [150 * channels, 40 * channels, 2 * channels],
                right_steps: [70 * channels, 20 * channels, channels],
            };
            let (left, right) = (integers(500 * channels, 5, 11), integers(300 * channels, 3, 7));
            let mut found = integers(taps * channels, 1, 3);
            let mut expected = found.clone();
            add_channel_products(&positions, &left, 3 * channels, &right, channels, &mut found);
            for (index, sum) in expected.iter_mut().enumerate() {
                let (tap, c) = (index / channels, index % channels);
                for image in 0..counts[0] {
                    for (p, q) in (0..counts[1]).flat_map(|p| (0..counts[2]).map(move |q| (p, q))) {
                        let left = left[(image * 150 + p * 40 + q * 2 + tap * 3) * channels + c];
                        *sum += left * right[(image * 70 + p * 20 + q) * channels + c];
                    }
                }
            }
            assert_eq!(found, expected, "{counts:?} {channels} {taps}");
        }
    }
}
