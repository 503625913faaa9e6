//! Products of a matrix and the transpose of another: dot products of rows, which need no packing.

use pulp::{Simd, WithSimd};

use super::simd::{load, vectorized};

/// Terms of the dot products that are summed at a time: few enough that some rows stay in the first-level cache.
const MOST_TERMS: usize = 2048;

/// `result[row, column] = sum over i of a[row, i] * b[column, i]`, on the calling thread; all matrices are row-major,
/// and `length` is the number of terms of each sum.
///
/// # Panics
/// If the sizes do not fit each other: a bug of the caller.
pub fn multiply_by_transpose(result: &mut [f32], a: &[f32], b: &[f32], length: usize) {
    assert_eq!(result.len() * length * length, a.len() * b.len(), "sizes of a product");
    vectorized(Dots { result, a, b, length });
}

struct Dots<'a> {
    result: &'a mut [f32],
    a: &'a [f32],
    b: &'a [f32],
    length: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Rows of the two factors in a tile: each pair of rows has a vector of sums in a register.
        match S::REGISTER_COUNT >= 32 {
            true => self.by_tiles::<S, 4, 5>(simd),
            false => self.by_tiles::<S, 2, 4>(simd),
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn by_tiles<S: Simd, const ROWS: usize, const COLUMNS: usize>(self, simd: S) {
        let Dots { result, a, b, length } = self;
        let (rows, columns) = (a.len() / length, b.len() / length);
        for start in (0..length).step_by(MOST_TERMS) {
            let terms = MOST_TERMS.min(length - start);
            for column in (0..columns).step_by(COLUMNS) {
                for row in (0..rows).step_by(ROWS) {
                    let tile = DotTile { result, a, b, length, start, terms, row, column };
                    if row + ROWS <= rows && column + COLUMNS <= columns {
                        tile.run::<S, ROWS, COLUMNS>(simd);
                    } else {
                        tile.one_by_one(simd, ROWS.min(rows - row), COLUMNS.min(columns - column));
                    }
                }
            }
        }
    }
}

/// A few rows of both factors, for a range of the terms.
struct DotTile<'a> {
    result: &'a mut [f32],
    a: &'a [f32],
    b: &'a [f32],
    length: usize,
    start: usize,
    terms: usize,
    row: usize,
    column: usize,
}

impl DotTile<'_> {
    #[inline(always)]
    fn one_by_one<S: Simd>(self, simd: S, rows: usize, columns: usize) {
        let DotTile { result, a, b, length, start, terms, row, column } = self;
        for row in row..row + rows {
            for column in column..column + columns {
                DotTile { result, a, b, length, start, terms, row, column }.run::<S, 1, 1>(simd);
            }
        }
    }

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const COLUMNS: usize>(self, simd: S) {
        let DotTile { result, a, b, length, start, terms, row, column } = self;
        let columns = b.len() / length;
        let a: [&[f32]; ROWS] = std::array::from_fn(|i| &a[(row + i) * length + start..][..terms]);
        let b: [&[f32]; COLUMNS] = std::array::from_fn(|j| &b[(column + j) * length + start..][..terms]);
        let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; ROWS];
        let whole = terms / S::F32_LANES * S::F32_LANES;
        for at in (0..whole).step_by(S::F32_LANES) {
            let b: [S::f32s; COLUMNS] = std::array::from_fn(|j| load::<S>(&b[j][at..]));
            for i in 0..ROWS {
                let a = load::<S>(&a[i][at..]);
                for j in 0..COLUMNS {
                    sums[i][j] = simd.mul_add_e_f32s(a, b[j], sums[i][j]);
                }
            }
        }
        // A copy for the loop below: if `sums` itself were indexed at run time, it would not stay in registers.
        let done = sums;
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                let rest = a[i][whole..].iter().zip(&b[j][whole..]).map(|(a, b)| a * b).sum::<f32>();
                let sum = simd.reduce_sum_f32s(done[i][j]) + rest;
                let result = &mut result[(row + i) * columns + column + j];
                *result = if start == 0 { sum } else { *result + sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_on_integers() {
        for (rows, columns, length) in [(1, 1, 1), (4, 6, 16), (5, 13, 33), (9, 7, 5000), (12, 12, 64)] {
            let a: Vec<f32> = (0..rows * length).map(|i| (i * i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..columns * length).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
            let mut result = vec![f32::NAN; rows * columns];
            multiply_by_transpose(&mut result, &a, &b, length);
            for row in 0..rows {
                for column in 0..columns {
                    let expected: f32 =
                        (0..length).map(|i| a[row * length + i] * b[column * length + i]).sum();
                    assert_eq!(result[row * columns + column], expected, "{rows} {columns} {length}");
                }
            }
        }
    }
}
