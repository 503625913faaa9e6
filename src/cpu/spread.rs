//! Channels of small groups, spread so that each result channel finds the values that it needs in its own lane.

use super::simd::vectorized;

/// Groups of a few channels each: a vector of result channels covers several groups.
///
/// Values are spread in planes, one for each channel of a group:
/// `spread[channel][column][k] = source[column][k / result * source + channel]`, for result channel `k`. A convolution of
/// such groups is then one of each channel by itself, with `source` planes for each tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Number of groups.
    pub groups: usize,
    /// Channels of a group in the source.
    pub source: usize,
    /// Channels of a group in the result.
    pub result: usize,
}

impl Spread {
    /// Channels of all groups in the result: those of each column of a plane.
    pub fn channels(&self) -> usize {
        self.groups * self.result
    }

    /// Number of elements of a row of so many columns, in all planes.
    pub fn row_elements(&self, columns: usize) -> usize {
        self.source * columns * self.channels()
    }

    /// Spreads a row of pixels.
    pub fn row(&self, source: &[f32], spread: &mut [f32]) {
        let columns = source.len() / (self.groups * self.source);
        match (self.source, self.result) {
            (2, 2) => alike::<2>(source, columns, spread),
            _ => {
                let planes = spread.chunks_exact_mut(columns * self.channels());
                for (channel, plane) in planes.enumerate() {
                    let groups = source.chunks_exact(self.source);
                    for (spread, group) in plane.chunks_exact_mut(self.result).zip(groups) {
                        spread.fill(group[channel]);
                    }
                }
            }
        }
    }
}

/// Number of values that are spread at a time: a whole number of groups, and of vectors.
const BLOCK: usize = 16;

/// [`Spread::row`] for groups of `SIZE` channels in the source and in the result.
fn alike<const SIZE: usize>(source: &[f32], columns: usize, spread: &mut [f32]) {
    let plane = columns * (source.len() / columns);
    vectorized(|| {
        let mut at = 0;
        while let Some(values) = source.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            for channel in 0..SIZE {
                let lanes: [f32; BLOCK] = std::array::from_fn(|lane| values[lane / SIZE * SIZE + channel]);
                spread[channel * plane + at..][..BLOCK].copy_from_slice(&lanes);
            }
            at += BLOCK;
        }
        for (index, _) in source.iter().enumerate().skip(at) {
            for channel in 0..SIZE {
                spread[channel * plane + index] = source[index / SIZE * SIZE + channel];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_channel_finds_its_values() {
        let sizes = [1, 2, 3, 4, 8];
        for (source, result) in sizes.iter().flat_map(|&source| sizes.map(|result| (source, result))) {
            for (groups, columns) in [(1, 1), (2, 3), (7, 5), (16, 2)] {
                let spread = Spread { groups, source, result };
                let pixels: Vec<f32> = (0..columns * groups * source).map(|value| value as f32).collect();
                let mut found = vec![f32::NAN; spread.row_elements(columns)];
                spread.row(&pixels, &mut found);
                let channels = spread.channels();
                for (index, found) in found.into_iter().enumerate() {
                    let (plane, column, k) =
                        (index / channels / columns, index / channels % columns, index % channels);
                    let expected = column * groups * source + k / result * source + plane;
                    assert_eq!(found, expected as f32, "{spread:?}, {columns} columns, {index}");
                }
            }
        }
    }
}
