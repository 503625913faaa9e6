//! Strips: neighbouring positions along the width that one invocation owns, so that the values that their windows share
//! are read once, into registers.

use crate::ops::conv::ConvGeometry;
use crate::ops::conv::phases::Phases;
use crate::ops::kernel::Constant;
use crate::ops::window::Axis;

/// A strip, and the taps that are processed together.
///
/// All three sizes are trip counts of loops that drivers must unroll completely: arrays that are not indexed by
/// literals are not held in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Positions.
    pub positions: usize,
    /// Number of neighbouring taps along the width that are processed together.
    pub taps: usize,
    /// Number of positions on the other side of the window that these taps meet.
    pub columns: usize,
}

/// Limits of a strip's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of positions.
    pub positions: usize,
    /// Output positions come in multiples of this.
    pub unit: usize,
    /// The largest number of taps that are processed together.
    pub taps: usize,
    /// The largest number of columns, which are held in registers.
    pub columns: usize,
    /// The largest number of unrolled products of a position and a tap: drivers do not unroll loops that would become
    /// too long.
    pub products: usize,
}

// Instructions for a packet: reading a column, with its address and its check against the border; reading a tap's
// weights; a product; and what a strip takes besides.
const COLUMN_COST: usize = 8;
const WEIGHT_COST: usize = 4;
const PRODUCT_COST: usize = 4;
const STRIP_COST: usize = 16;

impl Strip {
    /// A strip of output positions of `axis`, with the input columns under their taps.
    pub fn of_output(axis: &Axis, limits: Limits) -> Option<Strip> {
        let strips = chunks(axis.kernel, limits.taps).flat_map(|taps| {
            (1..=limits.positions.min(axis.output) / limits.unit).map(move |units| {
                let positions = units * limits.unit;
                let columns = (positions - 1) * axis.stride + (taps - 1) * axis.dilation + 1;
                Strip { positions, taps, columns }
            })
        });
        strips
            .filter(|strip| strip.fits(limits, strip.positions))
            .min_by_key(|strip| strip.cost(axis.output, axis.kernel, strip.positions))
    }

    /// A strip of input positions of `axis`, a multiple of the stride, with the output columns whose windows contain
    /// them.
    pub fn of_input(axis: &Axis, limits: Limits) -> Option<Strip> {
        let step = Phases::new(axis).tap_step;
        // Chunks of taps lie a whole number of output columns apart.
        let whole = move |&taps: &usize| taps == axis.kernel || taps.is_multiple_of(step);
        let taps = chunks(axis.kernel, limits.taps).chain((1..=limits.taps / step).map(|steps| steps * step));
        let strips = taps.filter(whole).flat_map(|taps| {
            (1..=limits.positions / axis.stride).map(move |strides| Strip {
                positions: strides * axis.stride,
                taps,
                columns: InputColumns::new(axis, strides * axis.stride, taps).count,
            })
        });
        // At a tap, one position of a stride meets an output column.
        strips
            .filter(|strip| strip.fits(limits, strip.positions / step))
            .min_by_key(|strip| strip.cost(axis.input, axis.kernel, strip.positions / step))
    }

    /// The largest number of iterations of an invocation's loops over a row of `kernel` taps, of which those over a
    /// tap's products take `products`: columns are read for each chunk of taps.
    pub fn trips(&self, kernel: usize, products: usize) -> usize {
        kernel.div_ceil(self.taps) * (1 + self.columns + self.taps * (1 + products))
    }

    /// Groups of taps that are worked on together, in filters of so many packets of input channels.
    pub fn tap_groups(&self, geometry: &ConvGeometry, packets: usize) -> usize {
        geometry.height.kernel * geometry.width.kernel.div_ceil(self.taps) * packets
    }

    /// Strips that cover `rows` of so many positions.
    pub fn covering(&self, rows: usize, positions: usize) -> usize {
        rows * positions.div_ceil(self.positions)
    }

    /// The sizes that every kernel of strips takes as const lines.
    pub fn sizes(&self) -> [(&'static str, u32); 3] {
        [("STRIP", self.positions as u32), ("TAPS", self.taps as u32), ("COLUMNS", self.columns as u32)]
    }

    /// Where strips of input positions meet the output: the overrides of `shaders/conv/few_channels/input_strips.wgsl`.
    pub fn meeting_places(&self, geometry: &ConvGeometry) -> [(&'static str, Constant); 6] {
        let columns = InputColumns::new(&geometry.width, self.positions, self.taps);
        let (rows, taps) = (Phases::new(&geometry.height), Phases::new(&geometry.width));
        [
            ("LEAD", columns.lead.into()),
            ("FIRST_COLUMN", Constant::U32(columns.first as u32)),
            ("ROW_STEP", rows.tap_step.into()),
            ("ROW_INVERSE", rows.tap_inverse.into()),
            ("TAP_STEP", taps.tap_step.into()),
            ("TAP_INVERSE", taps.tap_inverse.into()),
        ]
    }

    fn fits(&self, limits: Limits, products_of_tap: usize) -> bool {
        self.columns <= limits.columns && self.taps * products_of_tap <= limits.products
    }

    /// Cost of a row of `positions` under `kernel` taps. Positions past the end of the row count, too.
    fn cost(&self, positions: usize, kernel: usize, products_of_tap: usize) -> usize {
        let chunks = kernel.div_ceil(self.taps);
        let columns = chunks * self.columns * COLUMN_COST;
        let products = kernel * (WEIGHT_COST + products_of_tap * PRODUCT_COST);
        positions.div_ceil(self.positions) * (STRIP_COST + columns + products)
    }
}

/// The sizes of even chunks of `kernel` taps, each of at most `most`.
fn chunks(kernel: usize, most: usize) -> impl Iterator<Item = usize> {
    (kernel.div_ceil(most)..=kernel).map(move |chunks| kernel.div_ceil(chunks))
}

/// The output columns that meet a strip of input positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InputColumns {
    /// The first column of the strip that starts at position 0; may be before the output.
    first: i64,
    /// Column `j` of a strip meets its position `j*stride + t*dilation - lead` at tap `t`.
    lead: usize,
    /// Number of columns.
    count: usize,
}

impl InputColumns {
    /// The columns of `positions` input positions, a multiple of the stride, under the first `taps` taps.
    fn new(axis: &Axis, positions: usize, taps: usize) -> Self {
        let [stride, dilation, padding] =
            [axis.stride, axis.dilation, axis.padding_before].map(|size| size as i64);
        let first = (padding - (taps as i64 - 1) * dilation).div_euclid(stride);
        let last = (positions as i64 - 1 + padding).div_euclid(stride);
        InputColumns { first, lead: (padding - first * stride) as usize, count: (last - first + 1) as usize }
    }
}

/// The size of equal parts of `count` things, from `least` to twice that, that leaves the fewest idle places.
pub fn even_parts(count: usize, least: usize) -> usize {
    if count <= least {
        return count;
    }
    let idle = |&size: &usize| count.next_multiple_of(size) - count;
    (least..=2 * least).min_by_key(idle).expect("a range that is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::{Padding, WindowOptions};

    const LIMITS: Limits = Limits { positions: 8, unit: 1, taps: 8, columns: 12, products: 64 };

    fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> Axis {
        let options = WindowOptions {
            kernel_size: [1, kernel],
            stride: [1, stride],
            dilation: [1, dilation],
            padding: Padding::Symmetric([0, padding]),
        };
        Axis::pair("test", [1, input], &options).unwrap()[1]
    }

    fn axes() -> Vec<Axis> {
        let mut axes = Vec::new();
        for (kernel, stride, dilation) in [1, 2, 3, 5, 20]
            .into_iter()
            .flat_map(|kernel| [1, 2, 3, 5].map(move |stride| (kernel, stride)))
            .flat_map(|(kernel, stride)| [1, 2, 3].map(move |dilation| (kernel, stride, dilation)))
        {
            axes.extend([0, 1, 4].map(|padding| axis(64, kernel, stride, dilation, padding)));
        }
        axes
    }

    #[test]
    fn every_product_of_an_input_strip_lies_among_its_columns() {
        for axis in axes() {
            let Some(strip) = Strip::of_input(&axis, LIMITS) else { panic!("{axis:?}") };
            assert!(strip.columns <= LIMITS.columns && strip.positions.is_multiple_of(axis.stride));
            let columns = InputColumns::new(&axis, strip.positions, strip.taps);
            let mut products = 0;
            for first in (0..axis.input).step_by(strip.positions) {
                for first_tap in (0..axis.kernel).step_by(strip.taps) {
                    let first_column = (first / axis.stride) as i64 + columns.first
                        - (first_tap * axis.dilation / axis.stride) as i64;
                    for (j, t) in (0..columns.count).flat_map(|j| (0..strip.taps).map(move |t| (j, t))) {
                        let position = (j * axis.stride + t * axis.dilation)
                            .checked_sub(columns.lead)
                            .unwrap_or(usize::MAX);
                        let column = first_column + j as i64;
                        let is_inside = (0..axis.output as i64).contains(&column);
                        if position < strip.positions && is_inside && first_tap + t < axis.kernel {
                            let met = axis.input_at(column as usize, first_tap + t);
                            assert!(
                                met == Some(first + position)
                                    || met.is_none() && first + position >= axis.input,
                                "{axis:?}: {strip:?}"
                            );
                            products += usize::from(met.is_some());
                        }
                    }
                }
            }
            let expected: usize = (0..axis.output).map(|output| axis.taps_inside(output).len()).sum();
            assert_eq!(products, expected, "{axis:?}: {strip:?}");
        }
    }

    #[test]
    fn strips_fit_their_limits_and_waste_little() {
        for axis in axes() {
            let strip = Strip::of_output(&axis, LIMITS).unwrap();
            assert!(strip.positions <= 8 && strip.taps <= 8 && strip.columns <= 12, "{strip:?}");
        }
        let of_output = |input| Strip::of_output(&axis(input, 3, 1, 1, 1), LIMITS).unwrap();
        assert_eq!(of_output(56), Strip { positions: 8, taps: 3, columns: 10 });
        assert_eq!(of_output(7), Strip { positions: 7, taps: 3, columns: 9 });
        let in_pairs = Limits { unit: 2, ..LIMITS };
        let strip = Strip::of_output(&axis(7, 3, 1, 1, 1), in_pairs).unwrap();
        assert!(strip.positions.is_multiple_of(2), "{strip:?}");
        assert_eq!(Strip::of_output(&axis(1, 3, 1, 1, 1), in_pairs), None);
        assert_eq!(Strip::of_input(&axis(64, 3, 9, 1, 1), LIMITS), None);
    }

    #[test]
    fn parts_are_even() {
        assert_eq!([3, 8, 16, 36, 240].map(|count| even_parts(count, 8)), [3, 8, 8, 9, 8]);
    }
}
