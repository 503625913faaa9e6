//! Normalisations: numbers of channels around the size of a workgroup, and of rows around those of a lane, a slice and
//! several slices.

use crate::ops::norm::{
    BatchNormForward, BatchNormGradInput, BatchNormGradParameters, BatchNormRunning, BatchNormStatistics,
};

use super::Case;

/// Numbers of rows and channels, each with a name that says what the pair tests.
pub const ROWS_AND_CHANNELS: [(&str, usize, usize); 12] = [
    ("one value", 1, 1),
    ("one row", 1, 65),
    ("one channel, two rows", 2, 1),
    ("three channels, few rows", 7, 3),
    ("a short batch", 7, 64),
    ("one channel", 300, 1),
    ("three channels", 300, 3),
    ("as many channels as a workgroup has invocations", 300, 64),
    ("a channel more than a workgroup", 300, 65),
    ("more channels than a lane is wide", 97, 300),
    ("rows that do not fill the last slice", 5003, 16),
    ("several chunks, odd channels", 20_011, 17),
];

/// Large enough to keep the divisors of random variances away from zero, where errors would have no useful bound.
pub const EPSILON: f32 = 0.5;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let epsilon = EPSILON;
    for (name, rows, channels) in ROWS_AND_CHANNELS {
        cases.push(Case::new(name, BatchNormStatistics { rows, channels }));
        cases.push(Case::new(name, BatchNormGradParameters { rows, channels, epsilon }));
        for affine in [true, false] {
            let name = if affine { name.into() } else { format!("{name}, not affine") };
            cases.push(Case::new(&name, BatchNormForward { rows, channels, epsilon, affine }));
            cases.push(Case::new(&name, BatchNormGradInput { rows, channels, epsilon, affine }));
        }
    }
    let practice = BatchNormForward { rows: 300, channels: 64, epsilon: 1e-5, affine: true };
    cases.push(Case::new("as in practice", practice));
    for (name, rows, channels, momentum, steps) in [
        ("one channel", 2, 1, 0.1, 1),
        ("a channel more than a workgroup", 300, 65, 0.1, 3),
        ("the last batch alone", 7, 3, 1.0, 2),
        ("none of the batch", 7, 64, 0.0, 2),
    ] {
        cases.push(Case::new(name, BatchNormRunning { rows, channels, momentum, steps }));
    }
    cases
}
