//! Long loops in several launches, on devices whose drivers end a loop that takes too long.

use std::ops::Range;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall};

/// The nested loops of a kernel that computes a result straight from its definition; 1 for a loop that it does not
/// have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loops {
    /// Number of rows of a window.
    pub rows: usize,
    /// Number of columns of a window.
    pub columns: usize,
    /// Number of terms at one tap of the window.
    pub terms: usize,
}

impl Loops {
    /// A single loop over `terms`.
    pub fn over(terms: usize) -> Self {
        Loops { rows: 1, columns: 1, terms }
    }

    /// The loops over the taps of a window, with one term at each.
    pub fn over_window(rows: usize, columns: usize) -> Self {
        Loops { rows, columns, terms: 1 }
    }

    /// Launches of `call`, whose source reads the bounds of its loops from `shaders/part.wgsl`: one if the device does
    /// not limit loops, otherwise as many as keep an invocation within [`DeviceProfile::loop_trips`], in the order in
    /// which a single launch would run the loops.
    pub fn launches(self, call: &KernelCall, device: &DeviceProfile) -> Vec<KernelCall> {
        let parts = self.parts(device.loop_trips());
        let count = parts.len();
        let launch = |(part, [rows, columns, terms]): (usize, [Range<usize>; 3])| {
            let mut call = call.clone();
            call.constants.extend([
                ("PART", part.into()),
                ("PARTS", count.into()),
                ("FIRST_R", rows.start.into()),
                ("END_R", rows.end.into()),
                ("FIRST_S", columns.start.into()),
                ("END_S", columns.end.into()),
                ("FIRST_TERM", terms.start.into()),
                ("END_TERM", terms.end.into()),
            ]);
            call
        };
        parts.into_iter().enumerate().map(launch).collect()
    }

    /// The implementation `direct`, which consists of the [`Loops::launches`] of `call`.
    pub fn direct(self, call: &KernelCall, device: &DeviceProfile) -> Implementation {
        Implementation::of_calls("direct", self.launches(call, device), Vec::new())
    }

    /// Ranges of the loops over rows, columns and terms that together cover everything once. Every iteration counts,
    /// including those of the outer loops.
    fn parts(self, most_trips: usize) -> Vec<[Range<usize>; 3]> {
        let Loops { rows, columns, terms } = self;
        let most_terms = chunk(terms, most_trips.saturating_sub(2));
        let most_columns = chunk(columns, most_trips.saturating_sub(1) / (1 + most_terms));
        let most_rows = chunk(rows, most_trips / (1 + most_columns * (1 + most_terms)));
        let mut parts = Vec::new();
        for rows in ranges(rows, most_rows) {
            for columns in ranges(columns, most_columns) {
                parts.extend(ranges(terms, most_terms).map(|terms| [rows.clone(), columns.clone(), terms]));
            }
        }
        parts
    }
}

/// The size of as few equal chunks of `count` things as possible, with at most `most` in each, or 1 if that is 0.
fn chunk(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most.max(1)))
}

fn ranges(count: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(step).map(move |first| first..count.min(first + step))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn parts_cover_every_iteration_once_and_stay_within_the_limit() {
        for (loops, most_trips, count) in [
            (Loops::over(1), usize::MAX, 1),
            (Loops { rows: 7, columns: 7, terms: 64 }, usize::MAX, 1),
            (Loops::over(98), 100, 1),
            (Loops::over(99), 100, 2),
            (Loops::over(1000), 100, 11),
            (Loops::over_window(30, 30), 100, 30),
            (Loops::over_window(1, 500), 100, 11),
            (Loops::over_window(500, 1), 100, 16),
            (Loops { rows: 3, columns: 4, terms: 150 }, 100, 24),
            (Loops { rows: 10, columns: 4, terms: 20 }, 100, 10),
        ] {
            let parts = loops.parts(most_trips);
            assert_eq!(parts.len(), count, "{loops:?}");
            let mut seen = HashSet::new();
            for [rows, columns, terms] in parts {
                let trips = rows.len() * (1 + columns.len() * (1 + terms.len()));
                assert!(trips <= most_trips, "{loops:?}: {trips}");
                for r in rows {
                    for s in columns.clone() {
                        assert!(terms.clone().all(|term| seen.insert((r, s, term))), "{loops:?}");
                    }
                }
            }
            assert_eq!(seen.len(), loops.rows * loops.columns * loops.terms, "{loops:?}");
        }
    }
}
