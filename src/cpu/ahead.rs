//! Fetching what is read or written next into a cache while other values are computed, where a CPU does not foresee it: from
//! one row to the next, or in steps longer than a line of the cache.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use safe_arch::{prefetch_et0, prefetch_t1};

/// Number of values in a line of a cache.
const LINE: usize = 16;

/// Has values fetched that are read soon, into the second-level cache. Nothing waits for them, and no result depends on
/// it: where Rust has no such instruction, nothing happens.
#[inline(always)]
pub fn fetch(values: &[f32]) {
    values.iter().step_by(LINE).for_each(prefetch_t1);
}

/// As [`fetch`], into the nearest cache, for values that are overwritten soon.
#[inline(always)]
pub fn fetch_to_write(values: &[f32]) {
    values.iter().step_by(LINE).for_each(prefetch_et0);
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch_t1(_: &f32) {}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch_et0(_: &f32) {}

/// Places of a slice that are fetched part by part.
#[derive(Clone, Debug)]
pub struct Ahead {
    left: Range<usize>,
    part: usize,
}

impl Ahead {
    /// These places in so many parts.
    pub fn new(places: Range<usize>, parts: usize) -> Self {
        Ahead { part: places.len().div_ceil(parts.max(1)), left: places }
    }

    /// The places of the next `count` parts, as far as there are any.
    #[inline(always)]
    pub fn next(&mut self, count: usize) -> Range<usize> {
        let start = self.left.start;
        self.left.start = (start + count * self.part).min(self.left.end);
        start..self.left.start
    }
}

/// Values that are fetched part by part.
#[derive(Clone, Debug)]
pub struct Fetched<'a> {
    values: &'a [f32],
    ahead: Ahead,
}

impl<'a> Fetched<'a> {
    /// These values in so many parts.
    pub fn new(values: &'a [f32], parts: usize) -> Self {
        Fetched { ahead: Ahead::new(0..values.len(), parts), values }
    }

    /// Has the next `count` parts fetched, as far as there are any.
    #[inline(always)]
    pub fn next(&mut self, count: usize) {
        fetch(&self.values[self.ahead.next(count)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole_and_then_nothing() {
        for (places, parts, count) in
            [(3..50, 7, 1), (0..64, 4, 3), (5..5, 3, 1), (0..3, 10, 2), (2..9, 0, 1)]
        {
            let mut ahead = Ahead::new(places.clone(), parts);
            let mut end = places.start;
            for _ in 0..parts.max(1) {
                let part = ahead.next(count);
                assert_eq!(part.start, end);
                end = part.end;
            }
            assert_eq!(end, places.end, "{places:?} in {parts} parts");
            assert!(ahead.next(1).is_empty());
        }
    }
}
