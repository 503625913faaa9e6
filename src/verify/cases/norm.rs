//! Normalisations: numbers of channels around the size of a workgroup, and of rows around those of a lane, a slice and
//! several slices.

use crate::ops::Epilogue;
use crate::ops::activation::Activation;
use crate::ops::norm::{
    BatchNormForward, BatchNormGrad, BatchNormSize, BatchNormTrain, GroupNormForward, GroupNormGradInput,
    GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics, GroupSize, RunningStatistics,
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

/// Names of sizes at which whatever is fused with a batch normalisation is tested. Small enough that no random value lies
/// within a rounding error of a kink, on the wrong side of which a derivative would be another.
const FUSED_SIZES: [&str; 4] = [
    "three channels, few rows",
    "three channels",
    "a channel more than a workgroup",
    "more channels than a lane is wide",
];

/// What may follow a normalisation, each with a name.
fn epilogues() -> Vec<(String, Epilogue)> {
    let mut epilogues = vec![("a summand".into(), Epilogue { summand: true, ..Epilogue::NONE })];
    for activation in activations() {
        for summand in [false, true] {
            let name = format!("{}{}", if summand { "a summand, " } else { "" }, activation.name());
            let activation = Some(activation);
            epilogues.push((name, Epilogue { summand, activation, ..Epilogue::NONE }));
        }
    }
    epilogues
}

/// Functions whose gradient is computed from their output, and from their input.
pub fn activations() -> [Activation; 5] {
    [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Tanh,
        Activation::Gelu,
        Activation::HardSwish,
    ]
}

/// Every operation of a batch normalisation of this size, without what may be fused with it.
fn of_batches(name: &str, size: BatchNormSize) -> Vec<Case> {
    let mut cases = vec![Case::new(name, BatchNormForward::new(size))];
    // A single row has no variance.
    if size.rows > 1 {
        cases.push(Case::new(name, BatchNormTrain::new(size)));
        cases.push(Case::new(name, BatchNormGrad::new(size, true)));
        cases.push(Case::new(format!("{name}, parameters alone"), BatchNormGrad::new(size, false)));
        let given = BatchNormGrad::with_given_statistics(size);
        cases.push(Case::new(format!("{name}, given statistics"), given));
    }
    cases
}

/// Every operation of a batch normalisation of this size with what may be fused with it.
fn of_fused_batches(name: &str, size: BatchNormSize) -> Vec<Case> {
    let mut cases = Vec::new();
    for (epilogue_name, epilogue) in epilogues() {
        let name = format!("{name}, {epilogue_name}");
        cases.push(Case::new(&name, BatchNormForward::new(size).with_epilogue(epilogue)));
        cases.push(Case::new(&name, BatchNormTrain::new(size).with_epilogue(epilogue)));
    }
    for activation in activations() {
        let name = format!("{name}, {}", activation.name());
        for (needs_input, end) in [(true, ""), (false, ", parameters alone")] {
            let grad = BatchNormGrad::new(size, needs_input);
            cases.push(Case::new(format!("{name}{end}"), grad.behind(activation, false)));
            cases.push(Case::new(format!("{name}, shared{end}"), grad.behind(activation, true)));
            cases.push(Case::new(format!("{name}, computed again{end}"), grad.behind_recomputed(activation)));
        }
    }
    cases
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let epsilon = EPSILON;
    for (name, rows, channels) in ROWS_AND_CHANNELS {
        for affine in [true, false] {
            let size = BatchNormSize { rows, channels, epsilon, affine };
            let of_size = if affine { name.into() } else { format!("{name}, not affine") };
            cases.extend(of_batches(&of_size, size));
            if FUSED_SIZES.contains(&name) {
                cases.extend(of_fused_batches(&of_size, size));
            }
        }
    }
    cases.extend(GROUPS.into_iter().flat_map(|(name, size)| of_groups(name, size)));
    let practice = BatchNormSize { rows: 300, channels: 64, epsilon: 1e-5, affine: true };
    cases.push(Case::new("as in practice", BatchNormForward::new(practice)));
    for (name, elements, momentum, steps) in [
        ("one statistic of one value", vec![1], 0.1, 1),
        ("several layers", vec![65, 65, 3, 3, 64, 64], 0.1, 3),
        ("the last batch alone", vec![3, 3], 1.0, 2),
        ("none of the batch", vec![64, 64], 0.0, 2),
    ] {
        cases.push(Case::new(name, RunningStatistics { elements, momentum, steps }));
    }
    cases
}
