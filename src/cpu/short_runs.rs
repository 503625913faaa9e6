//! Runs of only a few values, as windows of small groups of channels have them: the loop over a run is unrolled, and
//! neighbouring windows find their values at the same addresses.

use pulp::Simd;

use super::simd::load;

/// Number of values in a short run.
pub const SHORT_RUN: usize = 8;

/// The number of rows whose sums, with the addresses of their runs, stay in registers.
pub const SHORT_RUN_ROWS: usize = 8;

/// The number of runs that are added together if neighbouring rows share their values.
pub const OVERLAPPING: usize = 3;

/// `sums[row] += sum over runs and i of source[(row + run)*step + i] * matrix[run][i]`, for `RUNS` short runs, at most
/// [`OVERLAPPING`]; each row of the packed `matrix` is a vector.
#[expect(clippy::needless_range_loop, reason = "with iterators, the compiler keeps the sums in memory")]
#[inline(always)]
pub fn add_runs<S: Simd, const ROWS: usize, const RUNS: usize>(
    simd: S,
    mut source: &[f32],
    step: usize,
    packed: &[f32],
    sums: &mut [[S::f32s; 1]; ROWS],
) {
    // What is left is cut off step by step: each address is computed and checked once.
    let mut next = |at: usize| {
        if at > 0 {
            source = &source[step..];
        }
        source.first_chunk::<SHORT_RUN>().expect("a whole run")
    };
    let first: [_; ROWS] = std::array::from_fn(&mut next);
    let further: [_; OVERLAPPING - 1] =
        std::array::from_fn(|at| if at + 1 < RUNS { next(ROWS + at) } else { first[0] });
    for run in 0..RUNS {
        for i in 0..SHORT_RUN {
            let matrix = load::<S>(&packed[(run * SHORT_RUN + i) * S::F32_LANES..]);
            for row in 0..ROWS {
                let at = row + run;
                let values = if at < ROWS { first[at] } else { further[at - ROWS] };
                sums[row][0] = simd.mul_add_e_f32s(simd.splat_f32s(values[i]), matrix, sums[row][0]);
            }
        }
    }
}
