//! Normalisation of each sample by itself: of groups of its channels, with the statistics of the group's values.
//!
//! A row is a pixel of a feature map, or the only one of flat features. With one row and one group a sample, this is the
//! layer normalisation of its channels.

mod forward;
mod grad_input;
mod grad_sums;
mod grad_weight;
mod reduction;
mod statistics;

pub use forward::GroupNormForward;
pub use grad_input::GroupNormGradInput;
pub use grad_sums::GroupNormGradSums;
pub use grad_weight::GroupNormGradWeight;
pub use statistics::GroupNormStatistics;

use crate::ops::kernel::Constant;

/// The sizes of a tensor `[samples,rows,K]` whose channels are normalised in groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupSize {
    /// Number of samples, which are normalised independently.
    pub samples: usize,
    /// Number of rows of a sample.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Number of groups of equal numbers of neighbouring channels, each normalised by itself.
    pub groups: usize,
}

impl GroupSize {
    /// Number of elements.
    fn elements(&self) -> usize {
        self.samples * self.rows * self.channels
    }

    /// Number of groups of all samples.
    fn segments(&self) -> usize {
        self.samples * self.groups
    }

    /// Number of channels of a group.
    fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Number of values of a group of one sample.
    fn count(&self) -> usize {
        self.rows * self.group_channels()
    }

    /// By definition, the number of the group, counted through all samples, of the value at `index`.
    fn segment(&self, index: usize) -> usize {
        index / (self.rows * self.channels) * self.groups + index % self.channels / self.group_channels()
    }

    /// By definition, the indices of a group's values.
    fn indices(&self, segment: usize) -> impl Iterator<Item = usize> + use<> {
        let (sample, group) = (segment / self.groups, segment % self.groups);
        let (channels, width) = (self.channels, self.group_channels());
        let rows = sample * self.rows..(sample + 1) * self.rows;
        rows.flat_map(move |row| {
            let first = row * channels + group * width;
            first..first + width
        })
    }

    /// The overrides of `shaders/norm/group/size.wgsl`.
    fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![
            ("SAMPLES", self.samples.into()),
            ("ROWS", self.rows.into()),
            ("CHANNELS", self.channels.into()),
            ("GROUPS", self.groups.into()),
        ]
    }
}

/// Samples that a core of the CPU takes at a time at least, so that small ones are worth waking a thread.
fn fewest_samples(size: &GroupSize) -> usize {
    const ELEMENTS: usize = 4 << 10;
    (ELEMENTS / (size.rows * size.channels)).max(1)
}

/// The sum of `term` over values, in lanes of vectors.
#[inline(always)]
fn sum<const N: usize>(values: [&[f32]; N], term: impl Fn([f32; N]) -> f32) -> f64 {
    const LANES: usize = 8;
    let length = values[0].len();
    let whole = length / LANES * LANES;
    let mut sums = [0.0f64; LANES];
    for first in (0..whole).step_by(LANES) {
        let parts: [&[f32]; N] = std::array::from_fn(|i| &values[i][first..first + LANES]);
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(term(std::array::from_fn(|i| parts[i][lane])));
        }
    }
    let rest = (whole..length).map(|at| f64::from(term(std::array::from_fn(|i| values[i][at]))));
    sums.into_iter().sum::<f64>() + rest.sum::<f64>()
}
