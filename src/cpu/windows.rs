//! Sums over windows for channels in small groups, as in depthwise convolutions: a vector of result channels covers several
//! groups, or channels of their own, and images are read in place.

use std::cell::Cell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::ahead::{Ahead, fetch, fetch_to_write};
use super::group_lanes::GroupChannel;
use super::panels::Bounds;
use super::simd::{lanes, load, put, vectorized};
use super::window_pairs::Pair;

/// The packed layout of filters of small groups: `[taps, channels]`, the channels of each tap padded with zeros to whole
/// vectors. A tap is one of a window and of one of the source channels that a result channel reads.
#[derive(Clone, Copy, Debug)]
pub struct ChannelFilters {
    /// Number of terms of each sum.
    pub taps: usize,
    /// Channels of the result.
    pub channels: usize,
}

impl ChannelFilters {
    /// Distance from one tap to the next, in elements.
    pub(super) fn pitch(&self) -> usize {
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

/// Regularly spaced windows of an image. What lies outside the image is zero.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Number of windows, down and across.
    pub counts: [usize; 2],
    /// Number of taps of a window, down and across.
    pub taps: [usize; 2],
    /// Where the taps lie, down and across: a row of [`Bounds`] is a window, and a run is a tap.
    pub bounds: [Bounds; 2],
    /// Steps from position to position in the source, down and across, in elements.
    pub source_steps: [usize; 2],
    /// Steps from window to window in the result, down and across, in elements.
    pub result_steps: [usize; 2],
    /// Which values of a position make the sums of a channel.
    pub planes: Planes,
}

/// The source channels that the sums of a result channel read, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Planes {
    /// The channels of a group of this size in the source and in the result: one of [`Planes::SIZES`].
    Group(usize),
    /// The same channel in so many planes, which are so many elements apart.
    Apart(usize, usize),
}

impl Planes {
    /// Sizes of groups whose channels are read from a vector.
    pub const SIZES: [usize; 3] = [1, 4, 8];

    /// Number of source channels of each result channel.
    pub(super) fn count(&self) -> usize {
        match *self {
            Planes::Group(count) | Planes::Apart(count, _) => count,
        }
    }
}

/// Windows, the filters by which they are multiplied, and where the sums go.
#[derive(Clone, Copy, Debug)]
pub struct WindowProduct<'a> {
    /// The windows.
    pub windows: Windows,
    /// The layout of the filters.
    pub filters: ChannelFilters,
    /// The filters.
    pub packed: &'a [f32],
    /// Where in the result the first window's sums go.
    pub first: usize,
    /// Whether the source and the result may lie in memory alone: then what the next row of windows is the first to read and
    /// what it writes is fetched while a row is computed. Pairs, which read and write in the order of memory, need no fetching.
    pub is_far: [bool; 2],
}

/// `result[first + window][k] = sum over taps r, channels c and taps s of source[window + r + s][c] * filters[r][c][s][k]` for
/// each product, on the calling thread; elements between the windows are left unchanged. Products that follow each other
/// are computed in pairs where one fills the gaps of the other.
///
/// # Panics
/// If the sizes do not fit each other: a bug of the caller. `source` must go on to the end of a whole vector.
pub fn multiply_windows<'a>(
    source: &[f32],
    products: impl Iterator<Item = WindowProduct<'a>>,
    result: &mut [f32],
) {
    let mut products = products.peekable();
    while let Some(product) = products.next() {
        let next = products.peek().copied();
        match next.as_ref().and_then(|next| Pair::new(&product, next)) {
            Some(pair) => {
                products.next();
                pair.multiply(source, result);
                product.without(pair.across()).multiply(source, result);
            }
            None => product.multiply(source, result),
        }
    }
}

impl Windows {
    /// The places in a source of `len` values that a row of windows reads before any other row does.
    pub(super) fn read_first_by(&self, row: usize, len: usize) -> Range<usize> {
        let [down, step] = [self.bounds[0].position(row, self.taps[0] - 1), self.source_steps[0] as isize];
        let end = |position: isize| ((position + 1) * step).clamp(0, len as isize) as usize;
        end(down - self.bounds[0].row_step as isize)..end(down)
    }

    /// The places in a result of `len` values that a row of windows writes.
    pub(super) fn written_by(&self, row: usize, len: usize) -> Range<usize> {
        let first = row * self.result_steps[0];
        first.min(len)..(first + self.counts[1] * self.result_steps[1]).min(len)
    }
}

impl WindowProduct<'_> {
    /// The product without this number of windows at the start of each row, whose places have been read and written already.
    fn without(mut self, skipped: usize) -> Self {
        self.is_far = [false; 2];
        self.windows.counts[1] -= skipped;
        let across = &mut self.windows.bounds[1];
        across.first += (skipped * across.row_step) as isize;
        self.first += skipped * self.windows.result_steps[1];
        self
    }

    fn multiply(&self, source: &[f32], result: &mut [f32]) {
        let WindowProduct { ref windows, ref filters, packed, first, is_far } = *self;
        if windows.counts.contains(&0) {
            return;
        }
        let terms = windows.taps[0] * windows.planes.count() * windows.taps[1];
        assert_eq!(terms, filters.taps, "length of the sums");
        let mut segments = SEGMENTS.take();
        let result = &mut result[first..];
        let (ahead, found) = (Default::default(), &mut segments);
        vectorized(Product { windows, source, filters, packed, result, segments: found, is_far, ahead });
        SEGMENTS.set(segments);
    }
}

struct Product<'a> {
    windows: &'a Windows,
    source: &'a [f32],
    filters: &'a ChannelFilters,
    packed: &'a [f32],
    result: &'a mut [f32],
    /// Those of the windows at hand.
    segments: &'a mut Vec<Segment>,
    is_far: [bool; 2],
    /// What the next row of windows is the first to read, and what it writes, if these are far.
    ahead: [Option<Ahead>; 2],
}

thread_local! {
    /// Those of the windows before, so that no step takes memory for them.
    static SEGMENTS: Cell<Vec<Segment>> = const { Cell::new(Vec::new()) };
}

/// Taps side by side of windows side by side, which share values.
struct Segment {
    /// Where in the source the first place lies that the windows meet, in elements; it may be outside.
    source: usize,
    /// Which places are inside the image: bit `i` is that of place `i`.
    inside: u32,
    /// Where the filters of the first tap lie.
    packed: usize,
}

/// Runs `$body` for each number below `$end`, which is a constant of at most 29: a loop of so much is not unrolled by itself.
macro_rules! unrolled {
    ($number:ident in 0..$end:expr => $body:block) => {
        unrolled!(@ $number $end, $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28)
    };
    (@ $number:ident $end:expr, $body:block; $($value:literal)*) => {
        $(if const { $value < $end } {
            #[allow(non_upper_case_globals)]
            const $number: usize = $value;
            $body
        })*
    };
}
pub(super) use unrolled;

/// The number of the window that meets `place` at tap `tap`, if windows start `step` places apart.
#[inline(always)]
pub(super) fn window_at(place: usize, tap: usize, step: usize) -> Option<usize> {
    place.checked_sub(tap).filter(|first| first.is_multiple_of(step)).map(|first| first / step)
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Sizes that do not fit are not even compiled.
        match self.windows.planes {
            Planes::Apart(..) | Planes::Group(1) => self.all::<S, 1>(simd),
            Planes::Group(4) if const { S::F32_LANES >= 4 } => self.all::<S, 4>(simd),
            Planes::Group(8) if const { S::F32_LANES >= 8 } => self.all::<S, 8>(simd),
            Planes::Group(size) => unreachable!("groups of {size} channels in vectors of {}", S::F32_LANES),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn all<S: Simd, const SIZE: usize>(&mut self, simd: S) {
        let across = self.windows.bounds[1];
        let step = if across.run_step == 1 { across.row_step } else { 0 };
        match (self.windows.taps[1], step) {
            (2, 1) => self.rows::<S, SIZE, 2, 1>(simd),
            (3, 1) => self.rows::<S, SIZE, 3, 1>(simd),
            (5, 1) if const { SIZE == 1 } => self.rows::<S, SIZE, 5, 1>(simd),
            (3, 2) => self.rows::<S, SIZE, 3, 2>(simd),
            _ => self.rows::<S, SIZE, 1, 1>(simd),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const SIZE: usize, const TAPS: usize, const STEP: usize>(&mut self, simd: S) {
        let [down, across] = self.windows.counts;
        let vectors = self.filters.pitch() / S::F32_LANES;
        for row in 0..down {
            let (windows, parts) = (self.windows, across * vectors);
            let [source, result] = self.is_far;
            self.ahead = [
                source.then(|| Ahead::new(windows.read_first_by(row + 1, self.source.len()), parts)),
                result.then(|| Ahead::new(windows.written_by(row + 1, self.result.len()), parts)),
            ];
            let mut first = 0;
            while first < across {
                let at = [row, first];
                first += match across - first {
                    // As many sums as leave registers for the filters and for a value.
                    14 | 18.. if const { S::REGISTER_COUNT >= 32 } => {
                        tile_in::<S, SIZE, TAPS, STEP, 14>(simd, self, at)
                    }
                    7 => tile_in::<S, SIZE, TAPS, STEP, 7>(simd, self, at),
                    8.. => tile_in::<S, SIZE, TAPS, STEP, 8>(simd, self, at),
                    4.. => tile_in::<S, SIZE, TAPS, STEP, 4>(simd, self, at),
                    _ => tile_in::<S, SIZE, TAPS, STEP, 1>(simd, self, at),
                };
            }
        }
    }

    /// Finds the segments of some windows from `first` on in a row of them: of `taps` taps, which meet `places` places in
    /// the source. Returns the distance from place to place in the source, in elements.
    fn find_segments(&mut self, [row, first]: [usize; 2], taps: usize, places: usize) -> usize {
        let Windows { taps: all, bounds: [down, across], source_steps, planes, .. } = *self.windows;
        let step = if taps == 1 { across.row_step } else { 1 };
        let (planes, apart) = match planes {
            Planes::Group(_) => (1, 0),
            Planes::Apart(count, apart) => (count, apart),
        };
        let channels = self.windows.planes.count() / planes;
        self.segments.clear();
        for r in down.runs_inside(row, all[0]) {
            let position = down.position(row, r);
            let line = position * source_steps[0] as isize;
            for plane in 0..planes {
                for s in (0..all[1]).step_by(taps) {
                    let start = across.position(first, s);
                    let inside =
                        Bounds { first: start, row_step: 0, run_step: step, positions: across.positions };
                    let inside = inside.runs_inside(0, places);
                    let source = line + start * source_steps[1] as isize + (plane * apart) as isize;
                    if !inside.is_empty() {
                        let inside = (1 << inside.end) - (1 << inside.start);
                        let tap = (r * planes + plane) * channels * all[1] + s;
                        let packed = tap * self.filters.pitch();
                        self.segments.push(Segment { source: source as usize, inside, packed });
                    }
                }
            }
        }
        step * source_steps[1]
    }
}

/// Computes a tile, in a function of its own that is compiled for the vectors of `simd`. Returns `COUNT`.
#[inline(always)]
fn tile_in<S: Simd, const SIZE: usize, const TAPS: usize, const STEP: usize, const COUNT: usize>(
    simd: S,
    product: &mut Product<'_>,
    at: [usize; 2],
) -> usize {
    let step = product.find_segments(at, TAPS, (COUNT - 1) * STEP + TAPS);
    simd.vectorize(Tile::<SIZE, TAPS, STEP, COUNT> { product, at, step });
    COUNT
}

/// `COUNT` neighbouring windows, all channels, with the sums in registers.
struct Tile<'a, 'b, const SIZE: usize, const TAPS: usize, const STEP: usize, const COUNT: usize> {
    product: &'a mut Product<'b>,
    at: [usize; 2],
    step: usize,
}

impl<const SIZE: usize, const TAPS: usize, const STEP: usize, const COUNT: usize> WithSimd
    for Tile<'_, '_, SIZE, TAPS, STEP, COUNT>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Tile { product, at, step } = self;
        let Product { windows, source, filters, packed, result, segments, ahead: [read, written], .. } =
            product;
        let result_steps = windows.result_steps;
        let (pitch, channels) = (filters.pitch(), filters.channels);
        for vector in 0..pitch / S::F32_LANES {
            if let Some(read) = read {
                fetch(&source[read.next(COUNT)]);
            }
            if let Some(written) = written {
                fetch_to_write(&result[written.next(COUNT)]);
            }
            let result = &mut result[at[0] * result_steps[0] + at[1] * result_steps[1]..];
            let first = vector * S::F32_LANES;
            let mut sums = [simd.splat_f32s(0.0); COUNT];
            for segment in segments.iter() {
                let mut filters = &packed[segment.packed + first..];
                for channel in 0..SIZE {
                    if channel > 0 {
                        filters = &filters[windows.taps[1] * pitch..];
                    }
                    let channel = GroupChannel::<S, SIZE>::new(simd, channel);
                    let mut filter = [simd.splat_f32s(0.0); TAPS];
                    let mut taps = filters;
                    for (tap, filter) in filter.iter_mut().enumerate() {
                        if tap > 0 {
                            taps = &taps[pitch..];
                        }
                        *filter = load::<S>(taps);
                    }
                    let mut place = segment.source.wrapping_add(first);
                    unrolled!(PLACE in 0..(COUNT - 1) * STEP + TAPS => {
                        if segment.inside & (1 << PLACE) != 0 {
                            let values = channel.read(simd, &source[place..]);
                            for (tap, filter) in filter.iter().enumerate() {
                                let window = window_at(PLACE, tap, STEP);
                                if let Some(sum) = window.and_then(|window| sums.get_mut(window)) {
                                    *sum = simd.mul_add_e_f32s(values, *filter, *sum);
                                }
                            }
                        }
                        place = place.wrapping_add(step);
                    });
                }
            }
            let done = sums;
            for (window, sum) in done.into_iter().enumerate() {
                put(simd, &mut result[window * result_steps[1]..][..channels], vector, sum, false);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn integers(count: usize, factor: usize, modulus: usize) -> Vec<f32> {
        (0..count).map(|i| (i * factor % modulus) as f32 - (modulus / 2) as f32).collect()
    }

    /// The place of a window's tap along an axis, by the definition; `None` outside the image.
    pub fn place(bounds: &Bounds, window: usize, tap: usize) -> Option<usize> {
        let place = bounds.first + (window * bounds.row_step + tap * bounds.run_step) as isize;
        usize::try_from(place).ok().filter(|&place| place < bounds.positions)
    }

    /// The sum of a window by its definition.
    pub fn expected(
        windows: &Windows,
        source: &[f32],
        [row, column]: [usize; 2],
        k: usize,
        filter: impl Fn(usize) -> f32,
    ) -> f32 {
        let [down, across] = &windows.bounds;
        let mut sum = 0.0;
        for (r, s) in (0..windows.taps[0]).flat_map(|r| (0..windows.taps[1]).map(move |s| (r, s))) {
            let (Some(h), Some(w)) = (place(down, row, r), place(across, column, s)) else { continue };
            for c in 0..windows.planes.count() {
                let channel = match windows.planes {
                    Planes::Group(size) => k / size * size + c,
                    Planes::Apart(_, apart) => c * apart + k,
                };
                let at = h * windows.source_steps[0] + w * windows.source_steps[1] + channel;
                sum += source[at] * filter((r * windows.planes.count() + c) * windows.taps[1] + s);
            }
        }
        sum
    }

    #[test]
    fn sums_are_exact_on_integers_and_leave_the_gaps_alone() {
        let groups = Planes::SIZES.into_iter().filter(|&size| lanes().is_multiple_of(size));
        let planes: Vec<Planes> = groups.map(Planes::Group).chain([Planes::Apart(3, 9000)]).collect();
        // Windows, taps, their steps, the first of each axis, and groups.
        for (counts, taps, [window_step, tap_step], first, groups) in [
            ([1, 1], [1, 1], [1, 1], [0, 0], 1),
            ([3, 30], [3, 3], [1, 1], [-1, -1], 5),
            ([2, 14], [3, 3], [1, 1], [-1, -2], 16),
            ([4, 17], [5, 5], [1, 1], [-2, -2], 3),
            ([2, 15], [3, 3], [2, 1], [-1, -1], 4),
            ([3, 7], [2, 2], [1, 1], [-1, 0], 17),
            ([2, 9], [1, 4], [3, 1], [2, -4], 2),
            ([2, 13], [3, 3], [1, 2], [-2, -2], 2),
            ([2, 11], [2, 7], [2, 3], [-30, -3], 1),
            ([9, 8], [7, 3], [1, 1], [-3, 40], 2),
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
                let filters = ChannelFilters { taps: taps[0] * planes.count() * taps[1], channels };
                let source = integers(32 * 8 * channels + 2 * 9000 + lanes(), 5, 11);
                let value = |tap, channel| (tap * 3 + channel * 7) as f32 % 5.0 - 2.0;
                let mut packed = vec![f32::NAN; filters.elements()];
                filters.pack(|tap| (0..channels).map(move |channel| value(tap, channel)), &mut packed);
                let mut found = vec![0.5; 40 * 10 * channels];
                let mut right = found.clone();
                let product =
                    WindowProduct { windows, filters, packed: &packed, first: 0, is_far: [true; 2] };
                multiply_windows(&source, std::iter::once(product), &mut found);
                for (p, q) in (0..counts[0]).flat_map(|p| (0..counts[1]).map(move |q| (p, q))) {
                    for k in 0..channels {
                        let sum = expected(&windows, &source, [p, q], k, |tap| value(tap, k));
                        right[p * 40 * channels + q * (channels + 1) + k] = sum;
                    }
                }
                assert_eq!(found, right, "{windows:?}, {groups} groups");
            }
        }
    }
}
