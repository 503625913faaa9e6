//! Sums of outer products over positions, as in gradients of filters.

use pulp::{Simd, WithSimd};

use super::simd::{for_tile, lanes_for, load, most_rows, put_rows, vectorized_by};

/// Regularly spaced positions in the two tensors whose products are summed. All steps are in elements.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    /// Number of images, and of positions down and across each image.
    pub counts: [usize; 3],
    /// Steps in the left tensor: from image to image, and from position to position, down and across.
    pub left_steps: [usize; 3],
    /// Steps in the right tensor, likewise.
    pub right_steps: [usize; 3],
}

impl Positions {
    /// The same positions with their axes rotated, so that there is more than one across if there is more than one in
    /// all.
    fn turned(self) -> Self {
        let turns = self.counts.iter().rev().take_while(|&&count| count == 1).count() % 3;
        let Positions { mut counts, mut left_steps, mut right_steps } = self;
        for values in [&mut counts, &mut left_steps, &mut right_steps] {
            values.rotate_right(turns);
        }
        Positions { counts, left_steps, right_steps }
    }

    /// Calls `work` for each line of each image, in order, with the offsets of the line's first position in the left
    /// and in the right tensor.
    #[inline(always)]
    pub(super) fn for_each_line(&self, mut work: impl FnMut(usize, usize)) {
        let Positions { counts, left_steps, right_steps } = *self;
        for image in 0..counts[0] {
            for down in 0..counts[1] {
                let at = |steps: [usize; 3]| image * steps[0] + down * steps[1];
                work(at(left_steps), at(right_steps));
            }
        }
    }

    /// Elements of the right tensor that [`add_outer_products`] reads. It reads whole vectors, so that some elements
    /// may lie after the last column.
    pub fn right_elements(&self, columns: usize) -> usize {
        let last = self.counts.iter().zip(self.right_steps).map(|(count, step)| (count - 1) * step);
        last.sum::<usize>() + columns.next_multiple_of(lanes_for(columns))
    }
}

/// `result[row*stride + column] += sum over positions of left[position + row] * right[position + column]`, on the
/// calling thread, in the order of positions.
///
/// # Panics
/// If `right` is shorter than [`Positions::right_elements`], or another size does not fit: a bug of the caller.
pub fn add_outer_products(
    positions: &Positions,
    left: &[f32],
    rows: usize,
    right: &[f32],
    columns: usize,
    result: &mut [f32],
    stride: usize,
) {
    let positions = &positions.turned();
    assert!(positions.right_elements(columns) <= right.len(), "elements behind the last column");
    let lanes = lanes_for(columns);
    let width = 2 * lanes;
    for first in (0..columns).step_by(width) {
        let columns = width.min(columns - first);
        let (right, result) = (&right[first..], &mut result[first..]);
        let vectors = columns.div_ceil(lanes);
        vectorized_by(lanes, OuterStrip { positions, left, rows, right, columns, vectors, result, stride });
    }
}

/// All rows of the result, for the columns of one tile.
struct OuterStrip<'a> {
    positions: &'a Positions,
    left: &'a [f32],
    rows: usize,
    right: &'a [f32],
    columns: usize,
    vectors: usize,
    result: &'a mut [f32],
    stride: usize,
}

impl WithSimd for OuterStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tiles = self.rows.div_ceil(most_rows::<S>(self.vectors));
        let mut first = 0;
        for tile in 0..tiles {
            let rows = (self.rows - first).div_ceil(tiles - tile);
            for_tile!(rows, self.vectors, tile_in::<S>(simd, &mut self, first));
            first += rows;
        }
    }
}

/// Computes a tile, in a function of its own that is compiled for the vectors of `simd`.
#[inline(always)]
fn tile_in<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    strip: &mut OuterStrip<'_>,
    first: usize,
) {
    simd.vectorize(OuterTile::<ROWS, VECTORS> { strip, first });
}

/// `ROWS` rows of the result, from `first` on, with the sums in registers.
struct OuterTile<'a, 'b, const ROWS: usize, const VECTORS: usize> {
    strip: &'a mut OuterStrip<'b>,
    first: usize,
}

impl<const ROWS: usize, const VECTORS: usize> WithSimd for OuterTile<'_, '_, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let OuterStrip { positions, left, right, result, stride, columns, .. } = self.strip;
        let Positions { counts, left_steps, right_steps } = **positions;
        let width = VECTORS * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        positions.for_each_line(|left_start, right_start| {
            let (left, right) = (&left[left_start + self.first..], &right[right_start..]);
            for across in 0..counts[2] {
                let values: &[f32; ROWS] = left[across * left_steps[2]..][..ROWS].try_into().expect("as cut");
                let right = &right[across * right_steps[2]..][..width];
                let columns: [S::f32s; VECTORS] =
                    std::array::from_fn(|vector| load::<S>(&right[vector * S::F32_LANES..]));
                for row in 0..ROWS {
                    let value = simd.splat_f32s(values[row]);
                    for vector in 0..VECTORS {
                        sums[row][vector] = simd.mul_add_e_f32s(value, columns[vector], sums[row][vector]);
                    }
                }
            }
        });
        // A copy: if `sums` itself were indexed at run time, it would not stay in registers.
        let done = sums;
        put_rows(simd, &mut result[self.first * *stride..], *stride, *columns, &done, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_on_integers_and_leave_the_gaps_alone() {
        for (counts, rows, columns) in [
            ([1, 1, 1], 1, 1),
            ([1, 3, 7], 5, 10),
            ([2, 2, 9], 31, 16),
            ([3, 4, 1], 13, 47),
            ([4, 1, 1], 9, 20),
            ([2, 1, 5], 13, 47),
            ([1, 1, 300], 14, 32),
        ] {
            let positions = Positions { counts, left_steps: [1009, 101, 7], right_steps: [1013, 203, 9] };
            let left: Vec<f32> = (0..5_000).map(|i| (i * i % 7) as f32 - 3.0).collect();
            let right: Vec<f32> = (0..5_000).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
            let stride = columns + 3;
            let mut found: Vec<f32> = (0..rows * stride).map(|i| (i % 5) as f32).collect();
            let mut expected = found.clone();
            add_outer_products(&positions, &left, rows, &right, columns, &mut found, stride);
            for (index, sum) in expected.iter_mut().enumerate() {
                let (row, column) = (index / stride, index % stride);
                if column >= columns {
                    continue;
                }
                for image in 0..counts[0] {
                    for down in 0..counts[1] {
                        for across in 0..counts[2] {
                            let left = left[image * 1009 + down * 101 + across * 7 + row];
                            let right = right[image * 1013 + down * 203 + across * 9 + column];
                            *sum += left * right;
                        }
                    }
                }
            }
            assert_eq!(found, expected);
        }
    }
}
