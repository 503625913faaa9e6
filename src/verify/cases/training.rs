//! The operations around the layers of a training step: batches, the loss, the optimizer, the step counter.

use crate::ops::batch::{Advance, AugmentBatch, GatherBatch, Padding};
use crate::ops::loss::{RestoreLoss, ScaleGradient, SoftmaxCrossEntropy};
use crate::ops::optimizer::{
    Adagrad, Adam, AdamW, Average, GradientNorm, Group, GroupOptions, Groups, Lion, Optimizer, Parameter,
    RmsProp, Sgd, Update, UpdateOptions,
};
use crate::tensor::ImageShape;

use super::Case;

/// Losses for numbers of rows and classes, each with a name that says what it tests.
pub fn losses() -> Vec<(&'static str, SoftmaxCrossEntropy)> {
    let rows = [
        ("one row", 1, 10, 1),
        ("one class", 3, 1, 2),
        ("two classes", 5, 2, 3),
        ("a class more than a workgroup", 4, 65, 7),
        ("a row more than a workgroup", 65, 10, 1),
        ("1000 classes", 3, 1000, 4),
        ("a large batch", 517, 33, 2),
        ("a large batch of few classes", 517, 10, 2),
    ];
    // name, rows, classes, steps, smoothing, class weights
    let shared = [
        ("smoothing", 9, 10, 2, 0.1, false),
        ("smoothing, one class", 3, 1, 2, 0.5, false),
        ("smoothing, 1000 classes", 5, 1000, 1, 0.1, false),
        ("smoothing, a large batch of few classes", 300, 32, 2, 0.1, false),
        ("class weights", 66, 10, 2, 0.0, true),
        ("class weights, one row", 1, 7, 1, 0.0, true),
        ("class weights, more classes than rows", 5, 129, 2, 0.0, true),
        ("class weights and smoothing", 9, 65, 3, 0.1, true),
        ("class weights and smoothing, a large batch", 517, 33, 2, 0.25, true),
    ];
    let plain = rows.map(|(name, batch_size, classes, steps)| (name, batch_size, classes, steps, 0.0, false));
    let op = |(name, batch_size, classes, steps, smoothing, class_weights)| {
        let op = SoftmaxCrossEntropy::new(batch_size, classes, steps);
        let op = op.and_then(|op| op.with_smoothing(smoothing));
        let op: SoftmaxCrossEntropy = op.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, if class_weights { op.with_class_weights().expect("no mixed targets") } else { op })
    };
    let mixed = |(name, batch_size, classes, smoothing)| {
        let op = SoftmaxCrossEntropy::new(batch_size, classes, 2);
        let op = op.and_then(|op| op.with_smoothing(smoothing)?.with_mixed_targets());
        (name, op.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let with_mixed_targets = [
        ("mixed, one row", 1, 5, 0.0),
        ("mixed, more classes than rows", 7, 130, 0.0),
        ("mixed and smoothed, a large batch", 515, 34, 0.25),
    ];
    plain.into_iter().chain(shared).map(op).chain(with_mixed_targets.map(mixed)).collect()
}

/// Optimizers for the parameters of weights and biases, and of every group.
fn optimizers() -> Vec<Case> {
    use Group::{Bias, Norm, Weight};
    let sgd = |momentum, nesterov| Optimizer::Sgd(Sgd { momentum, nesterov });
    let plain = sgd(0.0, false);
    // Large enough to keep the divisors of random averages away from zero, where errors would have no bound.
    let epsilon = 0.5;
    let adam = Adam { epsilon, ..Adam::default() };
    let rmsprop = |momentum| Optimizer::RmsProp(RmsProp { epsilon, momentum, ..RmsProp::default() });
    let one = vec![(Weight, 1)];
    let lenet = vec![(Weight, 150), (Weight, 2400), (Weight, 840), (Bias, 6), (Bias, 16), (Bias, 10)];
    let odd = vec![(Weight, 63), (Weight, 65), (Bias, 1), (Bias, 3), (Norm, 64), (Norm, 129)];
    let large = vec![(Weight, 70_001), (Weight, 1), (Bias, 257)];
    // With integers, multiples of 1/16 are exact, and multiples of 1/10 are not.
    let decays = Groups::with_weight_decay(0.25);
    let group = |rate_factor, weight_decay| GroupOptions { rate_factor, weight_decay };
    let groups = Groups { weight: group(1.0, 0.25), bias: group(2.0, 0.0), norm: group(0.5, 0.125) };
    let practice = Groups { weight: group(1.0, 5e-4), bias: group(2.0, 0.0), norm: group(1.0, 0.0) };
    let rows = [
        ("one value", plain, Groups::default(), false, 1, &one),
        ("plain", plain, Groups::default(), false, 3, &lenet),
        ("weight decay", plain, decays, false, 2, &odd),
        ("momentum", sgd(0.5, false), Groups::default(), false, 4, &odd),
        ("nesterov", sgd(0.75, true), Groups::default(), false, 2, &lenet),
        ("groups", sgd(0.5, true), groups, false, 5, &odd),
        ("biases alone", sgd(0.5, false), groups, false, 2, &vec![(Bias, 5), (Bias, 70)]),
        ("clipping", sgd(0.5, false), groups, true, 5, &odd),
        ("clipping, plain", plain, decays, true, 5, &lenet),
        ("as in practice", sgd(0.9, true), practice, false, 3, &large),
        ("one value", Optimizer::Adam(adam), Groups::default(), false, 1, &one),
        ("coupled decay", Optimizer::Adam(adam), groups, false, 3, &odd),
        ("clipping", Optimizer::Adam(adam), practice, true, 3, &large),
        ("decoupled decay", Optimizer::AdamW(AdamW(adam)), groups, false, 3, &odd),
        ("clipping", Optimizer::AdamW(AdamW(adam)), practice, true, 3, &large),
        ("plain", rmsprop(0.0), groups, false, 2, &odd),
        ("momentum and clipping", rmsprop(0.9), practice, true, 2, &large),
        ("coupled decay", Optimizer::Adagrad(Adagrad { epsilon }), groups, false, 2, &odd),
        ("clipping", Optimizer::Adagrad(Adagrad { epsilon }), practice, true, 2, &large),
        ("decoupled decay", Optimizer::Lion(Lion::default()), groups, false, 2, &odd),
        ("clipping", Optimizer::Lion(Lion::default()), practice, true, 2, &large),
    ];
    let averaged = [
        ("average", plain, Groups::default(), false, 3, &lenet),
        ("average, momentum", sgd(0.5, false), groups, false, 4, &odd),
        ("average", Optimizer::Adam(adam), practice, false, 3, &large),
        ("average and clipping", Optimizer::AdamW(AdamW(adam)), practice, true, 3, &large),
        ("average and clipping", Optimizer::Lion(Lion::default()), groups, true, 2, &odd),
    ];
    let rows = rows.into_iter().map(|row| (row, false)).chain(averaged.into_iter().map(|row| (row, true)));
    let mut cases: Vec<Case> = rows
        .map(|((name, optimizer, groups, clips, steps, parameters), averages)| {
            let options = UpdateOptions { optimizer, groups, clip_norm: clips.then_some(1.0), averages };
            let op = Update::new(options, parameters.iter().copied(), steps);
            Case::new(name, op.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    let at_first = |(group, elements)| Parameter { at_first: true, group, elements };
    let some_at_first = odd.iter().copied().map(Parameter::from).chain(odd.iter().copied().map(at_first));
    for (name, optimizer, parameters) in [
        ("at first", plain, lenet.iter().copied().map(at_first).collect::<Vec<_>>()),
        ("some at first", sgd(0.5, true), some_at_first.collect()),
        ("weights, and biases at first", plain, vec![(Weight, 70).into(), at_first((Bias, 5))]),
    ] {
        let options = UpdateOptions { optimizer, groups, clip_norm: None, averages: false };
        let op = Update::new(options, parameters, 2);
        cases.push(Case::new(name, op.unwrap_or_else(|error| panic!("{name}: {error}"))));
    }
    for (name, steps, elements) in
        [("one value", 1, vec![1]), ("statistics", 3, vec![64, 64, 3, 129]), ("many", 2, vec![70_001, 5])]
    {
        cases.push(Case::new(name, Average { elements, steps }));
    }
    for (name, max_norm, steps, elements) in [
        ("one value", 0.25, 1, vec![1]),
        ("within the norm", 1e3, 3, vec![63, 65, 1]),
        ("beyond the norm", 10.0, 3, vec![63, 65, 1, 3]),
        ("several parts", 50.0, 2, vec![70_001, 1, 4096, 4097]),
    ] {
        let op = GradientNorm::new(elements, max_norm, steps);
        cases.push(Case::new(format!("{name}, counting steps"), op.clone().with_counter()));
        cases.push(Case::new(format!("{name}, with the scale of a loss"), op.clone().with_loss_scale()));
        cases.push(Case::new(name, op));
    }
    cases
}

fn loss_scales() -> Vec<Case> {
    let mut cases: Vec<Case> = [1, 65, 1280]
        .map(|elements| Case::new(format!("{elements} values"), ScaleGradient { elements }))
        .into();
    cases.extend([1, 100].map(|steps| Case::new(format!("{steps} steps"), RestoreLoss::new(steps))));
    cases.push(Case::new("3 steps, counted", RestoreLoss::new(3).with_counter()));
    cases
}

fn batches() -> Vec<Case> {
    let image = |height, width, channels| ImageShape { height, width, channels };
    // name, batch, image, classes, steps, rows, first row
    let rows = [
        ("one byte", 1, image(1, 1, 1), 1, 1, 1, 0),
        ("one image", 1, image(5, 4, 3), 10, 3, 7, 0),
        ("digits", 16, image(28, 28, 1), 10, 4, 100, 0),
        ("colours", 9, image(8, 7, 3), 100, 2, 40, 0),
        ("bytes that do not fill their words", 6, image(3, 3, 1), 3, 2, 11, 0),
        ("more images than rows", 50, image(2, 3, 5), 4, 2, 3, 0),
        ("first of several parts", 12, image(3, 5, 3), 10, 3, 20, 0),
        ("last of several parts", 12, image(3, 5, 3), 10, 3, 13, 27),
    ];
    rows.map(|(name, batch_size, image, classes, steps, rows, first_row)| {
        Case::new(name, GatherBatch { batch_size, image, classes, steps, rows, first_row })
    })
    .into()
}

fn augmentations() -> Vec<Case> {
    let image = |height, width, channels| ImageShape { height, width, channels };
    // name, batch, image, steps, mixes
    let rows = [
        ("one pixel", 1, image(1, 1, 1), 1, false),
        ("one row", 3, image(1, 7, 3), 2, false),
        ("one column", 2, image(9, 1, 2), 1, true),
        ("digits", 5, image(28, 28, 1), 2, false),
        ("colours", 9, image(8, 7, 3), 3, true),
        ("an image alone is its own partner", 1, image(5, 6, 3), 2, true),
    ];
    let paddings = [("on black", Padding::Zero), ("mirrored", Padding::Reflect)];
    let rows = rows.into_iter().flat_map(|row| paddings.map(|padding| (row, padding)));
    rows.map(|((name, batch_size, image, steps, mixes), (around, padding))| {
        let op = AugmentBatch { batch_size, image, steps, classes: 10, padding, mixes };
        Case::new(format!("{name}, {around}"), op)
    })
    .collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = losses()
        .into_iter()
        .flat_map(|(name, op)| {
            [Case::new(name, op), Case::new(format!("{name}, counting steps"), op.with_counter())]
        })
        .collect();
    cases.extend(loss_scales());
    cases.extend(optimizers());
    cases.extend(batches());
    cases.extend(augmentations());
    cases.extend([1, 100].map(|steps| Case::new(format!("{steps} steps"), Advance { steps })));
    cases
}
