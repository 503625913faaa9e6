//! On the CPU: processing several rows at a time, so that loops over the channels are long and made of whole vectors, even
//! with few channels.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::{load, load_mut, load_part, store_part, vectorized};

/// The smallest number of elements of a block: large tensors took about a fifth less time with 64 than with 512, and more with 96
/// or 128 (AMD EPYC, Zen 4).
const BLOCK_ELEMENTS: usize = 64;

/// Number of elements of a chunk, unless rows are long.
const CHUNK_ELEMENTS: usize = 16 << 10;

/// The fewest rows of a chunk: with fewer, adding the sums of all chunks would cost as much as is gained.
const FEWEST_CHUNK_ROWS: usize = 16;

/// Number of elements of the widest vectors.
const WIDEST: usize = 16;

/// Blocks whose strips are processed one behind the other, so that what belongs to channels is read once for all of them:
/// as many as have so many elements, which lie in a cache until the last strip has been processed,
const TOGETHER_ELEMENTS: usize = 1024;

/// but at least so many.
const BLOCKS: usize = 4;

/// Number of elements of a block: whole rows and whole vectors. What belongs to channels has to be repeated to this length.
pub fn block_elements(channels: usize) -> usize {
    // The fewest rows that are whole vectors together.
    let rows = WIDEST >> channels.trailing_zeros().min(WIDEST.ilog2());
    let whole = rows * channels;
    // An odd number: blocks side by side a power of two apart would compete for the same places of a cache.
    whole * (BLOCK_ELEMENTS.div_ceil(whole) | 1)
}

/// Number of elements of the rows that a core processes at a time: whole blocks, a multiple of [`BLOCKS`].
pub fn chunk_elements(channels: usize) -> usize {
    let block = block_elements(channels);
    let blocks = (CHUNK_ELEMENTS / block).max((FEWEST_CHUNK_ROWS * channels).div_ceil(block));
    block * blocks.next_multiple_of(BLOCKS)
}

/// Number of elements of a chunk's first rows, from which its means are computed roughly: at least an eighth of it.
pub fn first_elements(channels: usize) -> usize {
    let together = BLOCKS * block_elements(channels);
    together * (chunk_elements(channels) / together).div_ceil(8)
}

/// Fills `repeated` with repetitions of the values of the channels.
pub fn repeat(values: impl ExactSizeIterator<Item = f32>, repeated: &mut [f32]) {
    let (first, rest) = repeated.split_at_mut(values.len());
    first.iter_mut().zip(values).for_each(|(first, value)| *first = value);
    rest.chunks_mut(first.len()).for_each(|rest| rest.copy_from_slice(&first[..rest.len()]));
}

/// Adds the sums of all repetitions of each channel, in pairs, in place of the former.
pub fn add_up(repeated: &mut [f32], sums: &mut [f32]) {
    let channels = sums.len();
    let mut repetitions = repeated.len() / channels;
    while repetitions > 1 {
        let kept = repetitions.div_ceil(2);
        let (kept_sums, added) = repeated[..repetitions * channels].split_at_mut(kept * channels);
        kept_sums.iter_mut().zip(added).for_each(|(sum, added)| *sum += *added);
        repetitions = kept;
    }
    sums.copy_from_slice(&repeated[..channels]);
}

/// Strips of some vectors each, in blocks that follow each other: the same channels in all of them.
#[derive(Clone, Copy, Debug)]
pub struct Strips {
    /// The place of the first strip.
    first: usize,
    /// Elements from a strip to the next: those of a block.
    step: usize,
    /// Number of strips.
    count: usize,
    /// Number of elements of a strip: those of its vectors, but for a single vector at the end of the last rows.
    elements: usize,
    /// The place of the strips in their blocks, and so that of their channels' values.
    pub place: usize,
}

impl Strips {
    /// Where each strip starts.
    pub fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |number| self.first + number * self.step)
    }

    /// The vectors of the strip that starts at `start`.
    #[inline(always)]
    pub fn read<S: Simd, const K: usize>(self, simd: S, values: &[f32], start: usize) -> [S::f32s; K] {
        let values = &values[start..][..self.elements];
        if K == 1 {
            return [load_part(simd, values); K];
        }
        std::array::from_fn(|k| load::<S>(&values[k * S::F32_LANES..]))
    }

    /// Writes the vectors of the strip that starts at `start`.
    #[inline(always)]
    pub fn write<S: Simd, const K: usize>(
        self,
        simd: S,
        values: &mut [f32],
        start: usize,
        strip: [S::f32s; K],
    ) {
        let values = &mut values[start..][..self.elements];
        if K == 1 {
            return store_part(simd, values, strip[0]);
        }
        for (k, vector) in strip.into_iter().enumerate() {
            *load_mut::<S>(&mut values[k * S::F32_LANES..]) = vector;
        }
    }
}

/// A loop over the elements of some rows.
pub trait Loop {
    /// Processes strips of `K` vectors. What belongs to their channels, and sums of them, stay in registers from the first
    /// strip to the last. Implementations are `#[inline(always)]`, so that they are compiled for the vectors.
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips);
}

/// Runs a loop over these elements, which are whole rows, in blocks of `block` elements.
pub fn run_in_blocks(elements: Range<usize>, block: usize, work: &mut impl Loop) {
    struct InBlocks<'a, L>(Range<usize>, usize, &'a mut L);
    impl<L: Loop> WithSimd for InBlocks<'_, L> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let InBlocks(Range { mut start, end }, block, work) = self;
            let together = (TOGETHER_ELEMENTS / block).max(BLOCKS);
            while start < end {
                let count = ((end - start) / block).min(together);
                // The last rows may be less than a block.
                let (count, length) = if count == 0 { (1, end - start) } else { (count, block) };
                let mut place = 0;
                let mut strips_of = |most: usize, least: usize| {
                    let elements = most.min(length - place);
                    let strips = Strips { first: start + place, step: block, count, elements, place };
                    let fits = elements >= least;
                    place += if fits { elements } else { 0 };
                    fits.then_some(strips)
                };
                let lanes = S::F32_LANES;
                // As many vectors as registers hold all values of their channels.
                if S::REGISTER_COUNT >= 32 {
                    while let Some(strips) = strips_of(4 * lanes, 4 * lanes) {
                        work.run::<S, 4>(simd, strips);
                    }
                } else {
                    while let Some(strips) = strips_of(2 * lanes, 2 * lanes) {
                        work.run::<S, 2>(simd, strips);
                    }
                }
                // A part of a vector is computed as whole ones are, so that results do not depend on the number of rows.
                while let Some(strips) = strips_of(lanes, 1) {
                    work.run::<S, 1>(simd, strips);
                }
                start += count * length;
            }
        }
    }
    vectorized(InBlocks(elements, block, work));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_repeated_and_added_up_by_their_places() {
        for channels in [1, 3, 24, 64, 65, 700] {
            let mut repeated = vec![0.0; block_elements(channels)];
            assert!(repeated.len() >= BLOCK_ELEMENTS && repeated.len().is_multiple_of(channels));
            assert!(repeated.len().is_multiple_of(WIDEST));
            repeat((0..channels).map(|c| c as f32), &mut repeated);
            assert!(chunk_elements(channels).is_multiple_of(BLOCKS * repeated.len()));
            let mut sums = vec![f32::NAN; channels];
            let times = repeated.len() / channels;
            add_up(&mut repeated, &mut sums);
            assert!(sums.iter().enumerate().all(|(c, &sum)| sum == (c * times) as f32), "{channels}");
        }
    }

    #[test]
    fn blocks_cover_every_element_once() {
        struct Seen(Vec<usize>, usize);
        impl Loop for Seen {
            #[inline(always)]
            fn run<S: Simd, const K: usize>(&mut self, _: S, strips: Strips) {
                for start in strips.starts() {
                    assert_eq!((start - 2) % self.1, strips.place);
                    assert!(strips.elements == K * S::F32_LANES || K == 1 && strips.elements < S::F32_LANES);
                    let elements = start..start + strips.elements;
                    elements.for_each(|element| self.0[element] += 1);
                }
            }
        }
        for elements in [3, 32, 33, 128, 127 + 64, 5000] {
            for block in [16, 32, 144, 2000] {
                let mut seen = Seen(vec![0; elements], block);
                run_in_blocks(2..elements, block, &mut seen);
                assert_eq!(seen.0.iter().sum::<usize>(), elements - 2);
                assert!(seen.0[2..].iter().all(|&times| times == 1), "{elements} in blocks of {block}");
            }
        }
    }
}
