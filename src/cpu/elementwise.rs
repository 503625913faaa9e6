//! Elementwise functions, on all cores.

use rayon::prelude::*;

/// Elements that a core takes at a time: few enough to balance the load, many enough to be worth waking a thread.
const CHUNK: usize = 16 << 10;

/// `result[i] = function(a[i])`.
pub fn map(result: &mut [f32], a: &[f32], function: impl Fn(f32) -> f32 + Sync) {
    assert_eq!(result.len(), a.len(), "elements of an operand");
    result.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).for_each(|(result, a)| {
        for (result, &a) in result.iter_mut().zip(a) {
            *result = function(a);
        }
    });
}

/// `result[i] = function(a[i], b[i])`.
pub fn zip_map(result: &mut [f32], a: &[f32], b: &[f32], function: impl Fn(f32, f32) -> f32 + Sync) {
    assert_eq!((result.len(), result.len()), (a.len(), b.len()), "elements of the operands");
    let operands = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    result.par_chunks_mut(CHUNK).zip(operands).for_each(|(result, (a, b))| {
        for ((result, &a), &b) in result.iter_mut().zip(a).zip(b) {
            *result = function(a, b);
        }
    });
}
