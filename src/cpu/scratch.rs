//! Scratch memory of a thread, and sums of partial results.

use std::cell::RefCell;

use rayon::prelude::*;

thread_local! {
    // Those that are not in use; a call within a call takes the next one.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `elements` values of this thread's scratch memory, whatever they hold; the memory is
/// kept for the next call.
pub fn with_scratch<R>(elements: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let unused = SCRATCH.with_borrow_mut(|unused| {
        // The smallest that is large enough, or else the largest, to be replaced.
        let fitting = (0..unused.len()).filter(|&i| unused[i].len() >= elements);
        let best = fitting.min_by_key(|&i| unused[i].len());
        let best = best.or_else(|| (0..unused.len()).max_by_key(|&i| unused[i].len()));
        best.map(|i| unused.swap_remove(i))
    });
    let mut scratch = unused.unwrap_or_default();
    if scratch.len() < elements {
        drop(scratch);
        scratch = vec![0.0; elements];
    }
    // Whoever reads what it has not written shall notice in tests.
    if cfg!(debug_assertions) {
        scratch[..elements].fill(f32::NAN);
    }
    let result = work(&mut scratch[..elements]);
    SCRATCH.with_borrow_mut(|unused| unused.push(scratch));
    result
}

/// `result[i] = sum over parts of parts[part][i]`, first part first, so that the same parts give the same bits.
pub fn add_in_order(result: &mut [f32], parts: &[f32]) {
    const CHUNK: usize = 4096;
    let elements = result.len();
    result.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, result)| {
        result.fill(0.0);
        for part in parts.chunks_exact(elements) {
            for (sum, value) in result.iter_mut().zip(&part[chunk * CHUNK..]) {
                *sum += value;
            }
        }
    });
}
