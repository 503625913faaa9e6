//! On the CPU: processing several rows at a time, so that loops over the channels are long and made of whole vectors, even
//! with few channels.

use std::ops::Range;

use pulp::{Scalar, Simd, WithSimd};

use crate::cpu::vectorized;

/// The smallest number of elements of a block: large tensors took about a fifth less time with 64 than with 512, and more with 96
/// or 128 (AMD EPYC, Zen 4).
const BLOCK_ELEMENTS: usize = 64;

/// Number of elements of a chunk, unless rows are long.
const CHUNK_ELEMENTS: usize = 16 << 10;

/// The fewest rows of a chunk: with fewer, adding the sums of all chunks would cost as much as is gained.
const FEWEST_CHUNK_ROWS: usize = 16;

/// Number of elements of the widest vectors.
const WIDEST: usize = 16;

/// Number of blocks that are processed side by side, so that what belongs to channels is read once for all of them.
const BLOCKS: usize = 4;

/// Number of elements of a block: whole rows and whole vectors. What belongs to channels has to be repeated to this length.
pub fn block_elements(channels: usize) -> usize {
    // The fewest rows that are whole vectors together.
    let rows = WIDEST >> channels.trailing_zeros().min(WIDEST.ilog2());
    let whole = rows * channels;
    // An odd number: blocks side by side a power of two apart would compete for the same places of a cache.
    whole * (BLOCK_ELEMENTS.div_ceil(whole) | 1)
}

/// Number of elements of the rows that a core processes at a time: whole blocks, as many as are processed side by side or a
/// multiple.
pub fn chunk_elements(channels: usize) -> usize {
    let block = block_elements(channels);
    let blocks = (CHUNK_ELEMENTS / block).max((FEWEST_CHUNK_ROWS * channels).div_ceil(block));
    block * blocks.next_multiple_of(BLOCKS)
}

/// Number of elements of a chunk's first rows, from which its means are computed roughly: at least an eighth of it.
pub fn first_elements(channels: usize) -> usize {
    let side_by_side = BLOCKS * block_elements(channels);
    side_by_side * (chunk_elements(channels) / side_by_side).div_ceil(8)
}

/// Fills `repeated` with repetitions of the values of the channels.
pub fn repeat(values: impl Iterator<Item = f32> + Clone, repeated: &mut [f32]) {
    for (repeated, value) in repeated.iter_mut().zip(values.cycle()) {
        *repeated = value;
    }
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

/// A loop over the elements of some rows.
pub trait Loop {
    /// Processes these elements: `N` blocks of equal length, side by side, in whole vectors. Implementations are
    /// `#[inline(always)]`, so that they are compiled for the vectors.
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>);
}

/// Runs a loop over these elements, which are whole rows, in blocks of `block` elements.
pub fn run_in_blocks(elements: Range<usize>, block: usize, work: &mut impl Loop) {
    struct InBlocks<'a, L>(Range<usize>, usize, &'a mut L);
    impl<L: Loop> WithSimd for InBlocks<'_, L> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let InBlocks(Range { start: mut first, end }, block, work) = self;
            while end - first >= BLOCKS * block {
                work.run::<S, BLOCKS>(simd, first..first + BLOCKS * block);
                first += BLOCKS * block;
            }
            while end - first >= block {
                work.run::<S, 1>(simd, first..first + block);
                first += block;
            }
            if first < end {
                work.run::<Scalar, 1>(Scalar::new(), first..end);
            }
        }
    }
    vectorized(InBlocks(elements, block, work));
}

/// `N` blocks of equal length that follow each other.
#[inline(always)]
pub fn side_by_side<S: Simd, const N: usize>(values: &[f32]) -> [&[S::f32s]; N] {
    let (vectors, _) = S::as_simd_f32s(values);
    let length = vectors.len() / N;
    std::array::from_fn(|block| &vectors[block * length..][..length])
}

/// As [`side_by_side`], for writing.
#[inline(always)]
pub fn side_by_side_mut<S: Simd, const N: usize>(values: &mut [f32]) -> [&mut [S::f32s]; N] {
    let (mut vectors, _) = S::as_mut_simd_f32s(values);
    let length = vectors.len() / N;
    std::array::from_fn(|_| vectors.split_off_mut(..length).expect("N blocks"))
}

/// The first vectors of values of channels, as many as a block has.
#[inline(always)]
pub fn of_channels<S: Simd>(values: &[f32], length: usize) -> &[S::f32s] {
    &S::as_simd_f32s(values).0[..length]
}

/// As [`of_channels`], for writing.
#[inline(always)]
pub fn of_channels_mut<S: Simd>(values: &mut [f32], length: usize) -> &mut [S::f32s] {
    &mut S::as_mut_simd_f32s(values).0[..length]
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
        struct Seen(Vec<usize>);
        impl Loop for Seen {
            #[inline(always)]
            fn run<S: Simd, const N: usize>(&mut self, _: S, elements: Range<usize>) {
                assert!(elements.len().is_multiple_of(S::F32_LANES * N));
                elements.for_each(|element| self.0[element] += 1);
            }
        }
        for elements in [3, 32, 33, 128, 127 + 64] {
            let mut seen = Seen(vec![0; elements]);
            run_in_blocks(2..elements, 32, &mut seen);
            assert_eq!(seen.0.iter().sum::<usize>(), elements - 2);
            assert!(seen.0[2..].iter().all(|&times| times == 1), "{elements}");
        }
    }
}
