//! What surrounds the layers in a training step: batches, the loss, the optimizer, the step counter.

use crate::ops::batch::{Advance, GatherBatch};
use crate::ops::loss::SoftmaxCrossEntropy;
use crate::ops::optimizer::{Sgd, SgdOptions};
use crate::tensor::ImageShape;

use super::Case;

/// Losses over numbers of rows and classes, each with the reason it is here.
pub fn losses() -> Vec<(&'static str, SoftmaxCrossEntropy)> {
    let rows = [
        ("one row", 1, 10, 1),
        ("one class", 3, 1, 2),
        ("two classes", 5, 2, 3),
        ("a class more than a workgroup", 4, 65, 7),
        ("a row more than a workgroup", 65, 10, 1),
        ("1000 classes", 3, 1000, 4),
        ("a large batch", 517, 33, 2),
    ];
    // name, rows, classes, steps, smoothing, class weights
    let shared = [
        ("smoothing", 9, 10, 2, 0.1, false),
        ("smoothing, one class", 3, 1, 2, 0.5, false),
        ("smoothing, 1000 classes", 5, 1000, 1, 0.1, false),
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
        (name, if class_weights { op.with_class_weights() } else { op })
    };
    plain.into_iter().chain(shared).map(op).collect()
}

fn optimizers() -> Vec<Case> {
    let plain = SgdOptions::default();
    // Sixteenths are exact on integers, tenths are not.
    let rows = [
        ("one value", 1, 1, plain),
        ("plain", 1000, 3, plain),
        ("weight decay", 65, 2, SgdOptions { weight_decay: 0.25, ..plain }),
        ("momentum", 129, 4, SgdOptions { momentum: 0.5, ..plain }),
        ("nesterov", 64, 2, SgdOptions { momentum: 0.75, nesterov: true, ..plain }),
        ("everything", 5000, 5, SgdOptions { momentum: 0.5, nesterov: true, weight_decay: 0.125 }),
        ("as in practice", 70_001, 3, SgdOptions { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }),
    ];
    rows.map(|(name, elements, steps, options)| {
        Case::new(name, Sgd::new(elements, steps, options).unwrap_or_else(|error| panic!("{name}: {error}")))
    })
    .into()
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

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = losses().into_iter().map(|(name, op)| Case::new(name, op)).collect();
    cases.extend(optimizers());
    cases.extend(batches());
    cases.extend([1, 100].map(|steps| Case::new(format!("{steps} steps"), Advance { steps })));
    cases
}
