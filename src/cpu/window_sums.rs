//! Sums of products of windows and of the gradients of their sums, for channels in small groups: gradients of filters.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::ahead::Fetched;
use super::group_lanes::GroupChannel;
use super::panels::Bounds;
use super::simd::{lanes, load, put, vectorized};
use super::windows::{Planes, Windows, unrolled, window_at};

impl Windows {
    /// Number of the sums that [`Windows::add_products`] adds to, for so many channels of gradients.
    pub fn products(&self, channels: usize) -> usize {
        self.taps[0] * self.planes.count() * self.taps[1] * channels
    }

    /// `sums[r][k][s][c] += sum over windows of source[window + r + s][c] * gradients[window][k]`, on the calling thread, in the
    /// order of windows, for each channel `c` and each channel `k` of its group; of planes that lie apart,
    /// `sums[r][plane][s][c] += sum over windows of source[plane][window + r + s][c] * gradients[window][c]`. The gradients are
    /// where a product with filters would write its results.
    ///
    /// What is read `next`, if anything is far, is fetched meanwhile.
    ///
    /// # Panics
    /// If the sizes do not fit each other: a bug of the caller. `source` and `gradients` must go on to the end of a whole
    /// vector.
    pub fn add_products(
        &self,
        source: &[f32],
        gradients: &[f32],
        channels: usize,
        next: Option<[&[f32]; 2]>,
        sums: &mut [f32],
    ) {
        assert_eq!(sums.len(), self.products(channels), "number of sums");
        let parts = self.counts[0] * self.counts[1] * channels.div_ceil(lanes());
        let ahead = next.map(|next| next.map(|values| Fetched::new(values, parts)));
        vectorized(Products { windows: self, source, gradients, channels, ahead, sums });
    }
}

struct Products<'a> {
    windows: &'a Windows,
    source: &'a [f32],
    gradients: &'a [f32],
    channels: usize,
    /// What is read next; the first part that is computed has it fetched.
    ahead: Option<[Fetched<'a>; 2]>,
    sums: &'a mut [f32],
}

/// Where the taps lie whose sums are computed together: their plane, their first row, and the first of them across.
#[derive(Clone, Copy)]
struct Part {
    plane: usize,
    r: usize,
    s: usize,
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Sizes that do not fit are not even compiled.
        match self.windows.planes {
            Planes::Apart(count, _) => (0..count).for_each(|plane| self.channel_wise::<S>(simd, plane)),
            Planes::Group(1) => self.channel_wise::<S>(simd, 0),
            Planes::Group(4) if const { S::F32_LANES >= 4 } => self.in_groups::<S, 4>(simd),
            Planes::Group(8) if const { S::F32_LANES >= 8 } => self.in_groups::<S, 8>(simd),
            Planes::Group(size) => unreachable!("groups of {size} channels in vectors of {}", S::F32_LANES),
        }
    }
}

impl Products<'_> {
    /// All sums of a plane. Three rows of taps at once give enough sums that do not wait for each other.
    #[inline(always)]
    fn channel_wise<S: Simd>(&mut self, simd: S, plane: usize) {
        let [down, across] = self.windows.taps;
        for r in (0..down).step_by(3) {
            match down - r {
                1 => self.channel_wise_rows::<S, 1>(simd, plane, r, across),
                2 => self.channel_wise_rows::<S, 2>(simd, plane, r, across),
                _ => self.channel_wise_rows::<S, 3>(simd, plane, r, across),
            }
        }
    }

    #[inline(always)]
    fn channel_wise_rows<S: Simd, const DOWN: usize>(
        &mut self,
        simd: S,
        plane: usize,
        r: usize,
        across: usize,
    ) {
        let Bounds { row_step, run_step, .. } = self.windows.bounds[1];
        let mut s = 0;
        while s < across {
            let part = Part { plane, r, s };
            s += match (across - s, run_step, row_step) {
                (2, 1, 1) => channel_part_in::<S, DOWN, 2, 1>(simd, self, part),
                (3.., 1, 1) => channel_part_in::<S, DOWN, 3, 1>(simd, self, part),
                (3.., 1, 2) => channel_part_in::<S, DOWN, 3, 2>(simd, self, part),
                _ => channel_part_in::<S, DOWN, 1, 1>(simd, self, part),
            }
        }
    }

    /// All sums of groups of `SIZE` channels: as many taps at once as leave registers for values.
    #[inline(always)]
    fn in_groups<S: Simd, const SIZE: usize>(&mut self, simd: S) {
        let [down, across] = self.windows.taps;
        for r in 0..down {
            let mut s = 0;
            while s < across {
                let part = Part { plane: 0, r, s };
                s += match across - s {
                    3.. if const { 3 * SIZE + 5 <= S::REGISTER_COUNT } => {
                        group_part_in::<S, SIZE, 3>(simd, self, part)
                    }
                    2.. if const { 2 * SIZE + 5 <= S::REGISTER_COUNT } => {
                        group_part_in::<S, SIZE, 2>(simd, self, part)
                    }
                    _ => group_part_in::<S, SIZE, 1>(simd, self, part),
                }
            }
        }
    }

    /// Adds the products of some windows, for a vector of channels that starts with channel `first`.
    #[inline(always)]
    fn add_block<S: Simd, const DOWN: usize, const TAPS: usize, const STEP: usize, const BLOCK: usize>(
        &self,
        simd: S,
        Part { plane, r, s }: Part,
        [row, window]: [usize; 2],
        first: usize,
        sums: &mut [[S::f32s; TAPS]; DOWN],
    ) {
        let Windows { taps, bounds: [down, across], source_steps, result_steps, planes, .. } = *self.windows;
        let apart = if let Planes::Apart(_, apart) = planes { apart } else { 0 };
        let mut gradients = &self.gradients[row * result_steps[0] + window * result_steps[1] + first..];
        let mut gradient = [simd.splat_f32s(0.0); BLOCK];
        for (number, gradient) in gradient.iter_mut().enumerate() {
            if number > 0 {
                gradients = &gradients[result_steps[1]..];
            }
            *gradient = load::<S>(gradients);
        }
        // From place to place, as windows that share values meet them.
        let step = if TAPS == 1 { across.row_step } else { 1 };
        let start = across.position(window, s);
        let places = Bounds { first: start, row_step: 0, run_step: step, ..across };
        let inside = places.runs_inside(0, (BLOCK - 1) * STEP + TAPS);
        let inside = (1u32 << inside.end) - (1 << inside.start);
        let rows = down.runs_inside(row, taps[0]);
        let position = down.position(row, r);
        let line = position * source_steps[0] as isize + start * source_steps[1] as isize;
        let mut line = (line as usize).wrapping_add(plane * apart + first);
        let step = step * source_steps[1];
        unrolled!(D in 0..DOWN => {
            if rows.contains(&(r + D)) {
                add_line::<S, TAPS, STEP, BLOCK>(simd, self.source, line, step, inside, &gradient, &mut sums[D]);
            }
            line = line.wrapping_add(down.run_step * source_steps[0]);
        });
    }

    /// Adds sums of a vector of channels that starts with channel `first`, in some taps side by side.
    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, row: usize, s: usize, first: usize, sums: &[S::f32s]) {
        for (tap, &sum) in sums.iter().enumerate() {
            let number = row * self.windows.taps[1] + s + tap;
            let sums = &mut self.sums[number * self.channels..][..self.channels];
            put(simd, sums, first / S::F32_LANES, sum, true);
        }
    }
}

/// `sums[tap] += sum over windows of source[line + window*STEP + tap] * gradient[window]`, for a vector of channels, where places
/// are `step` elements apart, and bit `i` of `inside` says whether place `i` is inside the image.
#[inline(always)]
fn add_line<S: Simd, const TAPS: usize, const STEP: usize, const BLOCK: usize>(
    simd: S,
    source: &[f32],
    line: usize,
    step: usize,
    inside: u32,
    gradient: &[S::f32s; BLOCK],
    sums: &mut [S::f32s; TAPS],
) {
    let mut place = line;
    unrolled!(PLACE in 0..(BLOCK - 1) * STEP + TAPS => {
        if inside & (1 << PLACE) != 0 {
            let values = load::<S>(&source[place..]);
            for (tap, sum) in sums.iter_mut().enumerate() {
                if let Some(gradient) = window_at(PLACE, tap, STEP).and_then(|window| gradient.get(window)) {
                    *sum = simd.mul_add_e_f32s(values, *gradient, *sum);
                }
            }
        }
        place = place.wrapping_add(step);
    });
}

/// Computes a part, in a function of its own that is compiled for the vectors of `simd`. Returns `TAPS`.
#[inline(always)]
fn channel_part_in<S: Simd, const DOWN: usize, const TAPS: usize, const STEP: usize>(
    simd: S,
    products: &mut Products<'_>,
    part: Part,
) -> usize {
    let across = products.windows.counts[1];
    // As many windows as leave registers for the sums, and as divide most images evenly.
    if const { S::REGISTER_COUNT >= 32 } && across.is_multiple_of(7) {
        simd.vectorize(ChannelPart::<DOWN, TAPS, STEP, 7> { products, part });
    } else {
        simd.vectorize(ChannelPart::<DOWN, TAPS, STEP, 4> { products, part });
    }
    TAPS
}

/// `DOWN` rows of `TAPS` taps of channels by themselves, with the sums in registers. `BLOCK` windows share values: each is
/// `STEP` places after the one before.
struct ChannelPart<'a, 'b, const DOWN: usize, const TAPS: usize, const STEP: usize, const BLOCK: usize> {
    products: &'a mut Products<'b>,
    part: Part,
}

impl<const DOWN: usize, const TAPS: usize, const STEP: usize, const BLOCK: usize> WithSimd
    for ChannelPart<'_, '_, DOWN, TAPS, STEP, BLOCK>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ChannelPart { products, part } = self;
        let Part { plane, r, s } = part;
        let windows = products.windows;
        let planes = windows.planes.count();
        let mut ahead = products.ahead.take();
        for first in (0..products.channels).step_by(S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); TAPS]; DOWN];
            for row in 0..windows.counts[0] {
                let mut window = 0;
                while window < windows.counts[1] {
                    let at = [row, window];
                    if window + BLOCK <= windows.counts[1] {
                        ahead.iter_mut().flatten().for_each(|ahead| ahead.next(BLOCK));
                        products.add_block::<S, DOWN, TAPS, STEP, BLOCK>(simd, part, at, first, &mut sums);
                        window += BLOCK;
                    } else {
                        products.add_block::<S, DOWN, TAPS, STEP, 1>(simd, part, at, first, &mut sums);
                        window += 1;
                    }
                }
            }
            let done = sums;
            for (d, sums) in done.iter().enumerate() {
                products.put(simd, (r + d) * planes + plane, s, first, sums);
            }
        }
    }
}

/// Computes a part, in a function of its own that is compiled for the vectors of `simd`. Returns `TAPS`.
#[inline(always)]
fn group_part_in<S: Simd, const SIZE: usize, const TAPS: usize>(
    simd: S,
    products: &mut Products<'_>,
    part: Part,
) -> usize {
    simd.vectorize(GroupPart::<SIZE, TAPS> { products, part });
    TAPS
}

/// A row of `TAPS` taps of groups of `SIZE` channels, with the sums in registers.
struct GroupPart<'a, 'b, const SIZE: usize, const TAPS: usize> {
    products: &'a mut Products<'b>,
    part: Part,
}

impl<const SIZE: usize, const TAPS: usize> WithSimd for GroupPart<'_, '_, SIZE, TAPS> {
    type Output = ();

    #[expect(clippy::needless_range_loop, reason = "with iterators, the compiler keeps the sums in memory")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GroupPart { products, part: Part { r, s, .. } } = self;
        let Windows { counts, taps, bounds: [down, across], source_steps, result_steps, .. } =
            *products.windows;
        let [window_step, tap_step] = [across.row_step, across.run_step].map(|step| step * source_steps[1]);
        let tap_position = |tap: usize| across.position(0, s + tap);
        // For each tap, the windows for which it lies inside the image; and those for which all do.
        let inside: [Range<usize>; TAPS] = std::array::from_fn(|tap| {
            let windows =
                Bounds { first: tap_position(tap), row_step: 0, run_step: across.row_step, ..across };
            windows.runs_inside(0, counts[1])
        });
        let start = inside.iter().map(|windows| windows.start).max().unwrap_or(0);
        let end = inside.iter().map(|windows| windows.end).min().unwrap_or(0).max(start);
        let spans = [(0..start, false), (start..end, true), (end..counts[1], false)];
        let mut ahead = products.ahead.take();
        for first in (0..products.channels).step_by(S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); TAPS]; SIZE];
            for row in (0..counts[0]).filter(|&row| down.runs_inside(row, taps[0]).contains(&r)) {
                let position = down.position(row, r);
                let line = position * source_steps[0] as isize + tap_position(0) * source_steps[1] as isize;
                let line = (line as usize).wrapping_add(first);
                let gradients = &products.gradients[row * result_steps[0] + first..];
                for (windows, is_inside) in &spans {
                    for window in windows.clone() {
                        ahead.iter_mut().flatten().for_each(|ahead| ahead.next(1));
                        let gradient = &gradients[window * result_steps[1]..];
                        let mut values = [simd.splat_f32s(0.0); TAPS];
                        for tap in 0..TAPS {
                            if *is_inside || inside[tap].contains(&window) {
                                let place = line.wrapping_add(window * window_step + tap * tap_step);
                                values[tap] = load::<S>(&products.source[place..]);
                            }
                        }
                        for channel in 0..SIZE {
                            let gradient = GroupChannel::<S, SIZE>::new(simd, channel).read(simd, gradient);
                            for tap in 0..TAPS {
                                sums[channel][tap] =
                                    simd.mul_add_e_f32s(values[tap], gradient, sums[channel][tap]);
                            }
                        }
                    }
                }
            }
            let done = sums;
            for (channel, sums) in done.iter().enumerate() {
                products.put(simd, r * SIZE + channel, s, first, sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows::tests::{integers, place};
    use super::*;

    /// Adds the products by their definition.
    fn add_expected(windows: &Windows, source: &[f32], gradients: &[f32], channels: usize, sums: &mut [f32]) {
        let (taps, count) = (windows.taps, windows.planes.count());
        for (index, sum) in sums.iter_mut().enumerate() {
            let (c, number) = (index % channels, index / channels);
            let (s, number) = (number % taps[1], number / taps[1]);
            let (r, k) = (number / count, number % count);
            let (apart, k) = match windows.planes {
                Planes::Group(size) => (0, c / size * size + k),
                Planes::Apart(_, apart) => (k * apart, c),
            };
            let [rows, columns] = windows.counts;
            for (p, q) in (0..rows).flat_map(|p| (0..columns).map(move |q| (p, q))) {
                let places = [place(&windows.bounds[0], p, r), place(&windows.bounds[1], q, s)];
                let [Some(h), Some(w)] = places else { continue };
                let value = source[apart + h * windows.source_steps[0] + w * windows.source_steps[1] + c];
                *sum += value * gradients[p * windows.result_steps[0] + q * windows.result_steps[1] + k];
            }
        }
    }

    #[test]
    fn sums_are_exact_on_integers() {
        let groups = Planes::SIZES.into_iter().filter(|&size| lanes().is_multiple_of(size));
        let planes: Vec<Planes> = groups.map(Planes::Group).chain([Planes::Apart(3, 9000)]).collect();
        // Windows, taps, their steps, the first of each axis, and groups.
        for (counts, taps, [window_step, tap_step], first, groups) in [
            ([1, 1], [1, 1], [1, 1], [0, 0], 1),
            ([3, 28], [3, 3], [1, 1], [-1, -1], 5),
            ([2, 14], [3, 3], [1, 1], [-1, -2], 16),
            ([4, 17], [5, 5], [1, 1], [-2, -2], 3),
            ([2, 15], [3, 3], [2, 1], [-1, -1], 4),
            ([3, 7], [2, 2], [1, 1], [-1, 0], 17),
            ([2, 9], [1, 4], [3, 1], [2, -4], 2),
            ([2, 13], [3, 3], [1, 2], [-2, -2], 2),
            ([2, 11], [2, 7], [2, 3], [-30, -3], 1),
            ([9, 8], [7, 3], [1, 1], [-3, 40], 2),
            ([8, 21], [3, 3], [2, 1], [-1, -1], 3),
        ] {
            for &planes in &planes {
                let channels = groups * if let Planes::Group(size) = planes { size } else { 1 };
                let bounds =
                    |first| Bounds { first, row_step: window_step, run_step: tap_step, positions: 8 };
                let [down, across] = first.map(bounds);
                let windows = Windows {
                    counts,
                    taps,
                    bounds: [down, Bounds { positions: 31, ..across }],
                    source_steps: [32 * channels, channels],
                    result_steps: [40 * channels, channels + 1],
                    planes,
                };
                let source = integers(32 * 8 * channels + 2 * 9000 + lanes(), 5, 11);
                let gradients = integers(40 * 10 * channels + lanes(), 3, 7);
                let mut found = integers(windows.products(channels), 1, 3);
                let mut expected = found.clone();
                let next = Some([&source[3..], &gradients[..5]]);
                windows.add_products(&source, &gradients, channels, next, &mut found);
                add_expected(&windows, &source, &gradients, channels, &mut expected);
                assert_eq!(found, expected, "{windows:?}, {groups} groups");
            }
        }
    }
}
