//! All small geometries: every way in which a window can lie along an axis, and all pairs of degenerate axes.

use std::collections::HashSet;

use rand::rngs::ChaCha8Rng;
use rand::seq::index;
use rand::{RngExt, SeedableRng};

use super::cases::Case;
use super::cases::pool::both_passes;
use super::random::windows;
use crate::Result;
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::pool::PoolGeometry;
use crate::ops::window::{Axis, Padding, WindowOptions};
use crate::tensor::ImageShape;

/// The largest input, kernel, stride, dilation, and padding on either side of an axis.
const MOST: [usize; 5] = [7, 5, 4, 3, 3];

/// Images in a batch: more than one, since a kernel may be right for the first and wrong for the next.
const BATCH_SIZE: usize = 2;

/// Channels of the input, channels of the output, and groups: one group, several groups, and one group per channel. A
/// geometry uses one of the two rows, so that about half of the geometries have multiples of four channels.
const CHANNELS: [[[usize; 3]; 3]; 2] = [[[3, 5, 1], [4, 6, 2], [3, 3, 3]], [[4, 8, 1], [8, 8, 2], [4, 4, 4]]];

/// Channels for which 3x3 windows with a stride of 1 use the Winograd transform.
const WIDE: [usize; 3] = [33, 18, 1];

/// Every geometry of a small range, by its number.
///
/// An axis is determined by its input, kernel, stride, dilation, and padding before and after. Each axis is combined
/// with a few ordinary and odd partners as the other axis, in both orders; degenerate axes are also combined with each
/// other. Axes whose last window hangs over the end of the padded input, which pools in ceil mode have, are combined with
/// one partner each.
#[derive(Clone, Debug)]
pub struct Exhaustive {
    axes: Vec<Axis>,
    hanging: Vec<Axis>,
    partners: Vec<Axis>,
    degenerate: Vec<Axis>,
}

impl Default for Exhaustive {
    fn default() -> Self {
        Exhaustive::new()
    }
}

impl Exhaustive {
    /// All axes of the range.
    pub fn new() -> Self {
        let axes = axes();
        // The dilation of a single tap has no effect.
        let is_paired = |axis: &Axis| is_degenerate(axis) && (axis.kernel > 1 || axis.dilation == 1);
        let degenerate = axes.iter().copied().filter(is_paired).collect();
        // Input, kernel, stride, dilation, padding before and after.
        let partners = [[5, 3, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [6, 2, 3, 2, 0, 1]].map(axis);
        let partners = partners.into_iter().map(|axis| axis.expect("a window that fits")).collect();
        Exhaustive { axes, hanging: hanging_axes(), partners, degenerate }
    }

    /// Number of geometries.
    pub fn len(&self) -> usize {
        self.partnered() + self.degenerate.len().pow(2)
    }

    /// Whether there are no geometries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of geometries that combine an axis with each partner; they come first.
    fn with_each_partner(&self) -> usize {
        2 * self.axes.len() * self.partners.len()
    }

    /// Number of geometries that combine an axis with a partner, those of ceil mode last.
    fn partnered(&self) -> usize {
        self.with_each_partner() + self.hanging.len()
    }

    /// Whether the geometry of this number is one of ceil mode.
    fn is_in_ceil_mode(&self, number: usize) -> bool {
        (self.with_each_partner()..self.partnered()).contains(&number)
    }

    /// Height and width of the geometry of this number.
    fn pair(&self, number: usize) -> [Axis; 2] {
        if let Some(number) = number.checked_sub(self.partnered()) {
            let count = self.degenerate.len();
            return [self.degenerate[number / count], self.degenerate[number % count]];
        }
        let axis = match number.checked_sub(self.with_each_partner()) {
            Some(hanging) => self.hanging[hanging],
            None => self.axes[number / 2 / self.partners.len()],
        };
        let partner = self.partners[number / 2 % self.partners.len()];
        if number.is_multiple_of(2) { [axis, partner] } else { [partner, axis] }
    }

    /// Every pass of the convolutions and pools with the geometry of this number; in ceil mode, of the pools alone.
    ///
    /// # Panics
    /// If there is no such geometry.
    pub fn cases(&self, number: usize) -> Vec<Case> {
        let [height, width] = self.pair(number);
        let window = WindowOptions {
            kernel_size: [height.kernel, width.kernel],
            stride: [height.stride, width.stride],
            dilation: [height.dilation, width.dilation],
            padding: Padding::Sides {
                top: height.padding_before,
                bottom: height.padding_after,
                left: width.padding_before,
                right: width.padding_after,
            },
        };
        let image = |channels| ImageShape { height: height.input, width: width.input, channels };
        let row = (height.input + width.input + height.kernel + width.stride) % CHANNELS.len();
        let is_transformed = |axis: &Axis| (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1);
        let wide = (is_transformed(&height) && is_transformed(&width)).then_some(WIDE);
        let described = windows(&height, &width);
        if self.is_in_ceil_mode(number) {
            let image = image(CHANNELS[row][0][0]);
            let geometry = PoolGeometry::in_ceil_mode(BATCH_SIZE, image, &window);
            let name = format!("small {number}: {BATCH_SIZE}x{image}, {described}, ceil mode");
            return geometry.into_iter().flat_map(|geometry| both_passes(&name, geometry)).collect();
        }
        let mut cases = Vec::new();
        for [in_channels, out_channels, groups] in CHANNELS[row].into_iter().chain(wide) {
            let image = image(in_channels);
            let geometry = ConvGeometry::new(BATCH_SIZE, image, out_channels, groups, &window)
                .expect("small sizes that were checked axis by axis");
            let name = format!(
                "small {number}: {BATCH_SIZE}x{image}, {out_channels} filters, {groups} groups, {described}"
            );
            cases.push(Case::new(&name, ConvForward::new(geometry)));
            cases.push(Case::new(&name, ConvGradFilters::new(geometry)));
            cases.push(Case::new(&name, ConvGradInput::new(geometry)));
        }
        let image = image(CHANNELS[row][0][0]);
        // A pool has no such geometry if a window would lie entirely in the padding.
        if let Ok(geometry) = PoolGeometry::new(BATCH_SIZE, image, &window) {
            let name = format!("small {number}: {BATCH_SIZE}x{image}, {described}");
            cases.extend(both_passes(&name, geometry));
        }
        cases
    }

    /// Numbers of `count` geometries, or of all if there are fewer, drawn from `seed`, in ascending order.
    pub fn sample(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers = index::sample(&mut rng, self.len(), count.min(self.len())).into_vec();
        numbers.sort_unstable();
        numbers
    }

    /// Numbers of geometries drawn from `seed`, in ascending order: of every `every` axes in a row, one is combined
    /// with a random partner, in a random order.
    pub fn sample_of_axes(&self, every: usize, seed: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let axes = self.axes.len() + self.hanging.len();
        let drawn = |first: usize| {
            let axis = first + rng.random_range(0..every.min(axes - first));
            if let Some(hanging) = axis.checked_sub(self.axes.len()) {
                return self.with_each_partner() + hanging;
            }
            2 * (axis * self.partners.len() + rng.random_range(0..self.partners.len()))
                + rng.random_range(0..2)
        };
        (0..axes).step_by(every).map(drawn).collect()
    }
}

/// The axis with this input, kernel, stride, dilation, and padding before and after; `None` if the kernel is too large.
fn axis(sizes: [usize; 6]) -> Option<Axis> {
    axis_of(Axis::pair, sizes)
}

type Pair = fn(&str, [usize; 2], &WindowOptions) -> Result<[Axis; 2]>;

fn axis_of(pair: Pair, [input, kernel, stride, dilation, before, after]: [usize; 6]) -> Option<Axis> {
    let window = WindowOptions {
        kernel_size: [kernel, 1],
        stride: [stride, 1],
        dilation: [dilation, 1],
        padding: Padding::Sides { top: before, bottom: after, left: 0, right: 0 },
    };
    pair("exhaustive", [input, 1], &window).ok().map(|[axis, _]| axis)
}

/// All axes of the range. Of axes that differ only in the padding after the last window, one is kept.
fn axes() -> Vec<Axis> {
    let mut seen = HashSet::new();
    all_sizes().filter_map(axis).filter(|axis| seen.insert(Axis { padding_after: 0, ..*axis })).collect()
}

/// All axes of the range that ceil mode gives another window.
fn hanging_axes() -> Vec<Axis> {
    let hanging = |sizes| axis_of(Axis::pair_in_ceil_mode, sizes).filter(|&found| axis(sizes) != Some(found));
    all_sizes().filter_map(hanging).collect()
}

/// The sizes of every axis of the range: input, kernel, stride, dilation, padding before and after.
fn all_sizes() -> impl Iterator<Item = [usize; 6]> {
    let [most_input, most_kernel, most_stride, most_dilation, most_padding] = MOST;
    let mut sizes = Vec::new();
    for input in 1..=most_input {
        for kernel in 1..=most_kernel {
            for stride in 1..=most_stride {
                for dilation in 1..=most_dilation {
                    for before in 0..=most_padding {
                        for after in 0..=most_padding {
                            sizes.push([input, kernel, stride, dilation, before, after]);
                        }
                    }
                }
            }
        }
    }
    sizes.into_iter()
}

/// Whether an axis has a single input or output position, a stride past the end of the input, or a window that lies
/// entirely in the padding.
fn is_degenerate(axis: &Axis) -> bool {
    let meets_padding_alone = |position| axis.taps_inside(position).is_empty();
    axis.input == 1
        || axis.output == 1
        || axis.stride >= axis.input
        || (0..axis.output).any(meets_padding_alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_of_the_range_is_there_once() {
        let sweep = Exhaustive::new();
        let mut expected = HashSet::new();
        for input in 1..=7 {
            for kernel in 1..=5usize {
                for stride in 1..=4 {
                    for dilation in 1..=3 {
                        for (before, after) in
                            (0..=3).flat_map(|before| (0..=3).map(move |after| (before, after)))
                        {
                            let room: usize = input + before + after;
                            if let Some(rest) = room.checked_sub((kernel - 1) * dilation + 1) {
                                expected.insert((input, kernel, stride, dilation, before, rest / stride + 1));
                            }
                        }
                    }
                }
            }
        }
        let found: HashSet<_> = sweep
            .axes
            .iter()
            .map(|axis| {
                let Axis { input, kernel, stride, dilation, padding_before, output, .. } = *axis;
                (input, kernel, stride, dilation, padding_before, output)
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(sweep.axes.len(), expected.len());
    }

    #[test]
    fn an_axis_meets_every_partner_on_both_sides_and_degenerate_ones_meet_each_other() {
        let sweep = Exhaustive::new();
        let pairs: HashSet<[Axis; 2]> = (0..sweep.len()).map(|number| sweep.pair(number)).collect();
        for &axis in &sweep.axes {
            for &partner in &sweep.partners {
                assert!(pairs.contains(&[axis, partner]) && pairs.contains(&[partner, axis]));
            }
        }
        for &hanging in &sweep.hanging {
            let meets =
                |&partner: &Axis| pairs.contains(&[hanging, partner]) || pairs.contains(&[partner, hanging]);
            assert!(sweep.partners.iter().any(meets));
        }
        let first = [sweep.degenerate[0], *sweep.degenerate.last().unwrap()];
        assert!(pairs.contains(&first) && pairs.contains(&[first[1], first[0]]));
        let one_row_with_a_stride = axis([1, 1, 2, 1, 0, 0]).unwrap();
        assert!(sweep.degenerate.contains(&one_row_with_a_stride));
        assert!(!is_degenerate(&axis([5, 3, 1, 1, 1, 1]).unwrap()));
        assert!(is_degenerate(&axis([5, 1, 1, 1, 1, 0]).unwrap()), "its first window meets padding alone");
    }

    #[test]
    fn a_sample_is_drawn_from_its_seed() {
        let sweep = Exhaustive::new();
        let sample = sweep.sample(1000, 3);
        assert_eq!(sample, sweep.sample(1000, 3));
        assert_ne!(sample, sweep.sample(1000, 4));
        assert!(sample.is_sorted_by(|a, b| a < b) && sample.len() == 1000);
        let axes = sweep.sample_of_axes(10, 3);
        assert_eq!(axes.len(), (sweep.axes.len() + sweep.hanging.len()).div_ceil(10));
        assert!(axes.is_sorted_by(|a, b| a < b) && axes.iter().all(|&number| number < sweep.partnered()));
        let of_axis = |number: usize| match number.checked_sub(sweep.with_each_partner()) {
            Some(hanging) => sweep.axes.len() + hanging,
            None => number / 2 / sweep.partners.len(),
        };
        assert!((0..).zip(&axes).all(|(tenth, &number)| of_axis(number) / 10 == tenth));
    }
}
