//! Scratch memory of each thread, and sums of partial results.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rayon::prelude::*;

use crate::{Error, Result, host_memory};

thread_local! {
    // The vectors that are not in use; a nested call takes another one.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `elements` values of this thread's scratch memory, whose content is arbitrary; the memory is kept
/// for the next call.
///
/// If there is too little memory, the thread unwinds with an [`Error`], which [`caught`] returns.
pub fn with_scratch<R>(elements: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let needed = elements.saturating_add(host_memory::alignment_elements::<f32>());
    let unused = SCRATCH.with_borrow_mut(|unused| {
        // The smallest that is large enough, otherwise the largest, which is then replaced.
        let fitting = (0..unused.len()).filter(|&i| unused[i].len() >= needed);
        let best = fitting.min_by_key(|&i| unused[i].len());
        let best = best.or_else(|| (0..unused.len()).max_by_key(|&i| unused[i].len()));
        best.map(|i| unused.swap_remove(i))
    });
    let mut scratch = unused.unwrap_or_default();
    if scratch.len() < needed {
        drop(scratch);
        scratch = allocated(needed).unwrap_or_else(|error| resume_unwind(Box::new(error)));
    }
    let first = host_memory::aligned_start(&scratch, elements);
    let part = &mut scratch[first..first + elements];
    // NaN makes reads of unwritten scratch memory visible in tests.
    if cfg!(debug_assertions) {
        part.fill(f32::NAN);
    }
    let result = work(part);
    SCRATCH.with_borrow_mut(|unused| unused.push(scratch));
    result
}

fn allocated(elements: usize) -> Result<Vec<f32>> {
    let (what, advice) = ("scratch memory", "a smaller batch or layer");
    host_memory::check(what, 4 * elements as u64, advice)?;
    let mut scratch = host_memory::reserved(what, elements, advice)?;
    scratch.resize(elements, 0.0);
    Ok(scratch)
}

/// Calls `work`, which may use scratch memory on any thread.
///
/// # Errors
/// [`Error::Memory`] if there was too little scratch memory; the results of `work` are then in an unknown state.
pub fn caught(work: impl FnOnce()) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|payload| match payload.downcast::<Error>() {
        Ok(error) => Err(*error),
        Err(bug) => resume_unwind(bug),
    })
}

/// `result[i] = sum over parts of parts[part][i]`, in the order of parts, so that the same parts give the same bits.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_that_does_not_fit_is_an_error_on_any_thread() {
        let most = isize::MAX as usize / 8;
        let work = || {
            rayon::join(
                || with_scratch(10, |scratch| scratch.fill(1.0)),
                || with_scratch(most, |scratch| scratch.fill(1.0)),
            );
        };
        let error = caught(work).unwrap_err().to_string();
        assert!(error.starts_with("scratch memory needs "), "{error}");
        caught(|| with_scratch(10, |scratch| scratch.fill(1.0))).unwrap();
        assert!(catch_unwind(|| caught(|| resume_unwind(Box::new("a bug")))).is_err());
    }
}
