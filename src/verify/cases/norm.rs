//! Normalisations: numbers of channels around the size of a workgroup, and of rows around those of a lane, a slice and
//! several slices.

use crate::ops::norm::{
    BatchNormForward, BatchNormGradInput, BatchNormGradParameters, BatchNormRunning, BatchNormStatistics,
    GroupNormForward, GroupNormGradInput, GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics,
    GroupSize,
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

/// Samples, rows, channels and groups, each with a name that says what they test.
pub const GROUPS: [(&str, GroupSize); 9] = [
    ("one value", group_size(1, 1, 1, 1)),
    ("flat features, one group", group_size(13, 1, 37, 1)),
    ("a channel a group", group_size(3, 20, 5, 5)),
    ("two groups", group_size(4, 9, 10, 2)),
    ("one group", group_size(3, 49, 20, 1)),
    ("as many values as a small workgroup shares", group_size(2, 64, 32, 16)),
    ("groups of one workgroup", group_size(2, 33, 66, 3)),
    ("groups of large workgroups", group_size(2, 400, 24, 2)),
    ("pixels, one group each", group_size(5003, 1, 48, 1)),
];

const fn group_size(samples: usize, rows: usize, channels: usize, groups: usize) -> GroupSize {
    GroupSize { samples, rows, channels, groups }
}

/// Every operation of a group normalisation of this size.
pub fn of_groups(name: &str, size: GroupSize) -> Vec<Case> {
    let epsilon = EPSILON;
    let mut cases = vec![
        Case::new(name, GroupNormStatistics { size }),
        Case::new(name, GroupNormGradWeight { size, epsilon }),
    ];
    for affine in [true, false] {
        let name = if affine { name.into() } else { format!("{name}, not affine") };
        cases.push(Case::new(&name, GroupNormForward { size, epsilon, affine }));
        cases.push(Case::new(&name, GroupNormGradSums { size, epsilon, affine }));
        cases.push(Case::new(&name, GroupNormGradInput { size, epsilon, affine }));
    }
    cases
}

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
    cases.extend(GROUPS.into_iter().flat_map(|(name, size)| of_groups(name, size)));
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
