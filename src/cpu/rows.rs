//! Adding a row to all rows of a tensor, and summing all rows: biases and their gradients.

use pulp::{Simd, WithSimd};

use super::simd::{load, put, vectorized};

/// `rows[row, c] += values[c]`, on the calling thread.
pub fn add_to_rows(rows: &mut [f32], values: &[f32]) {
    struct Work<'a>(&'a mut [f32], &'a [f32]);
    impl WithSimd for Work<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Work(rows, values) = self;
            let whole = values.len() / S::F32_LANES;
            for row in rows.chunks_exact_mut(values.len()) {
                for vector in 0..whole {
                    put(simd, row, vector, load::<S>(&values[vector * S::F32_LANES..]), true);
                }
                for c in whole * S::F32_LANES..values.len() {
                    row[c] += values[c];
                }
            }
        }
    }
    vectorized(Work(rows, values));
}

/// `sums[c] += sum over rows of rows[row, c]`, in the order of rows, on the calling thread.
pub fn add_rows(sums: &mut [f32], rows: &[f32]) {
    struct Work<'a>(&'a mut [f32], &'a [f32]);
    impl WithSimd for Work<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Work(sums, rows) = self;
            let channels = sums.len();
            let whole = channels / S::F32_LANES;
            for vector in 0..whole {
                let mut sum = load::<S>(&sums[vector * S::F32_LANES..]);
                for row in rows.chunks_exact(channels) {
                    sum = simd.add_f32s(sum, load::<S>(&row[vector * S::F32_LANES..]));
                }
                put(simd, sums, vector, sum, false);
            }
            for row in rows.chunks_exact(channels) {
                for c in whole * S::F32_LANES..channels {
                    sums[c] += row[c];
                }
            }
        }
    }
    vectorized(Work(sums, rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_exactly_on_integers() {
        for (rows, channels) in [(1, 1), (5, 16), (7, 33), (3, 15)] {
            let values: Vec<f32> = (0..rows * channels).map(|i| (i * 7 % 11) as f32).collect();
            let added: Vec<f32> = (0..channels).map(|c| c as f32).collect();
            let mut found = values.clone();
            add_to_rows(&mut found, &added);
            let mut sums = added.clone();
            add_rows(&mut sums, &values);
            for c in 0..channels {
                let is_right = |row| found[row * channels + c] == values[row * channels + c] + added[c];
                assert!((0..rows).all(is_right));
                let sum: f32 = (0..rows).map(|row| values[row * channels + c]).sum();
                assert_eq!(sums[c], added[c] + sum);
            }
        }
    }
}
