//! The widest vectors that this CPU has (AVX-512, AVX2, NEON), found at run time.

use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

static ARCH: LazyLock<Arch> = LazyLock::new(Arch::new);

/// Runs `work` in code that is compiled for the widest vectors.
pub fn vectorized<R>(work: impl WithSimd<Output = R>) -> R {
    ARCH.dispatch(work)
}

/// Runs `work` in code that is compiled for vectors of so many lanes: those of [`lanes_for`].
pub(super) fn vectorized_by<R>(lanes: usize, work: impl WithSimd<Output = R>) -> R {
    #[cfg(target_arch = "x86_64")]
    if let (8, Arch::V4(widest)) = (lanes, *ARCH) {
        return Arch::V3(*widest).dispatch(work);
    }
    vectorized(work)
}

/// The number of lanes of the vectors that suit rows of so many values: of the widest, or of vectors of half their width
/// where one of those holds a whole row.
pub(super) fn lanes_for(values: usize) -> usize {
    match lanes() {
        16 if values <= 8 => 8,
        lanes => lanes,
    }
}

/// The number of values in a vector.
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    vectorized(Lanes)
}

/// Values that micro-kernels may read, and ignore, behind the last one that counts: they take whole vectors, two side by
/// side at most. Who hands them a source sees to it that so many more are there.
pub fn spare() -> usize {
    2 * lanes()
}

/// The first values of a slice as a vector.
#[inline(always)]
pub fn load<S: Simd>(values: &[f32]) -> S::f32s {
    *bytemuck::from_bytes(bytemuck::cast_slice(&values[..S::F32_LANES]))
}

/// The first values of a slice as a mutable vector.
#[inline(always)]
pub fn load_mut<S: Simd>(values: &mut [f32]) -> &mut S::f32s {
    bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut values[..S::F32_LANES]))
}

/// The first values of a slice as a vector, filled with zeros if the slice is shorter than a vector.
#[inline(always)]
pub fn load_part<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    if values.len() >= S::F32_LANES { load::<S>(values) } else { simd.partial_load_f32s(values) }
}

/// Writes a vector to the start of a slice; values that do not fit are dropped.
#[inline(always)]
pub fn store_part<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    if values.len() >= S::F32_LANES {
        *load_mut::<S>(values) = vector;
    } else {
        simd.partial_store_f32s(values, vector);
    }
}

/// Writes `sum` to the vector of this number in a row, or with `add` adds it there; values past the row's end are
/// dropped.
#[inline(always)]
pub(super) fn put<S: Simd>(simd: S, row: &mut [f32], vector: usize, sum: S::f32s, add: bool) {
    let first = vector * S::F32_LANES;
    if let Some(values) = row.get_mut(first..first + S::F32_LANES) {
        let sum = if add { simd.add_f32s(load::<S>(values), sum) } else { sum };
        *bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(values)) = sum;
        return;
    }
    let sum = [sum];
    let sum: &[f32] = bytemuck::cast_slice(&sum);
    for (value, sum) in row.iter_mut().skip(first).zip(sum) {
        *value = if add { *value + sum } else { *sum };
    }
}

/// As [`put`], for the sums of several rows that start `step` apart, each of so many columns.
#[inline(always)]
pub(super) fn put_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    result: &mut [f32],
    step: usize,
    columns: usize,
    sums: &[[S::f32s; VECTORS]; ROWS],
    add: bool,
) {
    // Loops with no more in them than needed may be unrolled.
    if columns == VECTORS * S::F32_LANES {
        for row in 0..ROWS {
            let result = &mut result[row * step..][..VECTORS * S::F32_LANES];
            for vector in 0..VECTORS {
                let result = load_mut::<S>(&mut result[vector * S::F32_LANES..]);
                let sum = sums[row][vector];
                *result = if add { simd.add_f32s(*result, sum) } else { sum };
            }
        }
        return;
    }
    for (row, sums) in sums.iter().enumerate() {
        let result = &mut result[row * step..][..columns];
        for (vector, &sum) in sums.iter().enumerate() {
            put(simd, result, vector, sum, add);
        }
    }
}

/// The number of rows of a tile, of `vectors` vectors per row, whose sums make good use of the CPU's registers: each
/// vector of the result has a register of its own.
#[inline(always)]
pub(super) fn most_rows<S: Simd>(vectors: usize) -> usize {
    match (S::REGISTER_COUNT >= 32, vectors) {
        (true, 1) => 14,
        (true, _) => 12,
        (false, 1) => 10,
        (false, _) => 6,
    }
}

/// Calls `$call::<S, ROWS, VECTORS>($arguments)` for numbers of rows and vectors that are known only at run time.
macro_rules! for_tile {
    ($rows:expr, $vectors:expr, $call:ident::<$simd:ident>($($argument:expr),*)) => {
        match ($vectors, $rows) {
            (1, 1) => $call::<$simd, 1, 1>($($argument),*),
            (1, 2) => $call::<$simd, 2, 1>($($argument),*),
            (1, 3) => $call::<$simd, 3, 1>($($argument),*),
            (1, 4) => $call::<$simd, 4, 1>($($argument),*),
            (1, 5) => $call::<$simd, 5, 1>($($argument),*),
            (1, 6) => $call::<$simd, 6, 1>($($argument),*),
            (1, 7) => $call::<$simd, 7, 1>($($argument),*),
            (1, 8) => $call::<$simd, 8, 1>($($argument),*),
            (1, 9) => $call::<$simd, 9, 1>($($argument),*),
            (1, 10) => $call::<$simd, 10, 1>($($argument),*),
            (1, 11) => $call::<$simd, 11, 1>($($argument),*),
            (1, 12) => $call::<$simd, 12, 1>($($argument),*),
            (1, 13) => $call::<$simd, 13, 1>($($argument),*),
            (1, 14) => $call::<$simd, 14, 1>($($argument),*),
            (2, 1) => $call::<$simd, 1, 2>($($argument),*),
            (2, 2) => $call::<$simd, 2, 2>($($argument),*),
            (2, 3) => $call::<$simd, 3, 2>($($argument),*),
            (2, 4) => $call::<$simd, 4, 2>($($argument),*),
            (2, 5) => $call::<$simd, 5, 2>($($argument),*),
            (2, 6) => $call::<$simd, 6, 2>($($argument),*),
            (2, 7) => $call::<$simd, 7, 2>($($argument),*),
            (2, 8) => $call::<$simd, 8, 2>($($argument),*),
            (2, 9) => $call::<$simd, 9, 2>($($argument),*),
            (2, 10) => $call::<$simd, 10, 2>($($argument),*),
            (2, 11) => $call::<$simd, 11, 2>($($argument),*),
            (2, 12) => $call::<$simd, 12, 2>($($argument),*),
            (vectors, rows) => unreachable!("a tile of {rows} x {vectors} vectors"),
        }
    };
}
pub(super) use for_tile;
