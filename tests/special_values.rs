//! The CPU and the GPU give the definition's answer also for data that the table of cases does not draw: ties, NaN and
//! infinity, rows without an image, a step past the end.

mod common;

use std::sync::Arc;

use wgconv::convolution;
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::ops::batch::{Advance, GatherBatch, NO_ROW};
use wgconv::ops::conv::ConvGeometry;
use wgconv::ops::loss::{NO_LABEL, RestoreLoss, ScaleGradient, SoftmaxCrossEntropy};
use wgconv::ops::optimizer::{GradientNorm, Group, Groups, Optimizer, Sgd, Update, UpdateOptions};
use wgconv::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{Element, HostBuffer, Op, Operands};
use wgconv::plan::{Executor, Plan};
use wgconv::tensor::{ImageShape, Shape, Tensor};
use wgconv::verify::cases::conv;

const NAN: f64 = f64::NAN;
const INFINITY: f64 = f64::INFINITY;

fn executors(test: &str) -> Vec<Box<dyn Executor>> {
    let mut executors: Vec<Box<dyn Executor>> = vec![Box::new(CpuExecutor::new())];
    for checks in [ShaderChecks::Off, ShaderChecks::On] {
        executors.extend(common::gpu(test, checks).map(|gpu| Box::new(gpu) as Box<dyn Executor>));
    }
    executors
}

fn real(values: &[f64]) -> HostBuffer<f64> {
    HostBuffer::real(values.to_vec())
}

fn index(values: &[u32]) -> HostBuffer<f64> {
    HostBuffer::index(values.to_vec())
}

/// The values of a buffer of any element type.
fn numbers(buffer: &HostBuffer<f64>) -> Vec<f64> {
    match buffer.element() {
        Element::Real | Element::Half => buffer.reals().to_vec(),
        Element::Index => buffer.indices().iter().map(|&value| value.into()).collect(),
        Element::Byte => buffer.bytes().iter().map(|&value| value.into()).collect(),
    }
}

/// Runs `op` on all executors; operands named in `compared` must then equal the definition's.
fn check<O: Op + Clone + 'static>(
    executors: &mut [Box<dyn Executor>],
    op: O,
    given: &[HostBuffer<f64>],
    compared: &[&str],
) {
    let mut defined = Operands::new(given.to_vec());
    op.define(&mut defined);
    let defined = defined.into_buffers();
    for executor in executors {
        executor.clear();
        let plan = Arc::new(Plan::of_op(Box::new(op.clone())));
        let prepared = executor.prepare(plan.clone()).unwrap();
        let buffers = &plan.forward[0].operands;
        for (&buffer, given) in buffers.iter().zip(given) {
            executor.write(prepared, buffer, &given.map_reals(|&value| value as f32)).unwrap();
        }
        executor.run(prepared, 1).unwrap();
        for ((operand, &buffer), expected) in op.operands().iter().zip(buffers).zip(&defined) {
            if !compared.contains(&operand.name) {
                continue;
            }
            let found = executor.read(prepared, buffer).unwrap().map_reals(|&value| f64::from(value));
            for (i, (expected, found)) in numbers(expected).into_iter().zip(numbers(&found)).enumerate() {
                let same = found == expected
                    || (found - expected).abs() < 1e-5
                    || expected.is_nan() && found.is_nan();
                assert!(
                    same,
                    "{}, {}[{i}] on {}: expected {expected}, found {found}",
                    op.name(),
                    operand.name,
                    executor.device_name()
                );
            }
        }
    }
}

#[test]
fn pools_of_ties_nan_and_infinity() {
    let mut executors = executors("pools_of_ties_nan_and_infinity");
    let image = ImageShape { height: 4, width: 5, channels: 2 };
    #[rustfmt::skip]
    let input = real(&[
        1.0, NAN, 1.0, NAN, 0.0, -0.0, 0.0, INFINITY, -1.0, INFINITY,
        1.0, 2.0, NAN, 2.0, 0.0, 0.0, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
        3.0, 3.0, 3.0, 3.0, 3.0, 3.0, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
        3.0, NAN, 3.0, 3.0, 3.0, 3.0, -INFINITY, 4.0, -INFINITY, NAN,
    ]);
    for (kernel, stride, padding) in [(2, 1, 0), (2, 2, 0), (3, 2, 1), (2, 3, 1)] {
        let window = WindowOptions {
            stride: [stride; 2],
            padding: Padding::Symmetric([padding; 2]),
            ..WindowOptions::new([kernel; 2])
        };
        let geometry = PoolGeometry::new(1, image, &window).unwrap();
        let kind = PoolKind::Max;
        let elements = geometry.output_shape().elements();
        let grad_output = HostBuffer::real((1..=elements).map(|value| value as f64).collect());
        let output = HostBuffer::zeros(Element::Real, elements);
        check(&mut executors, PoolForward { kind, geometry }, &[input.clone(), output], &["output"]);
        let grad_input = HostBuffer::zeros(Element::Real, image.elements());
        let given = [input.clone(), grad_output, grad_input];
        check(&mut executors, PoolGrad::new(kind, geometry), &given, &["grad_input"]);
    }
}

#[test]
fn losses_of_rows_without_label_and_of_logits_that_are_not_finite() {
    let mut executors = executors("losses_of_rows_without_label_and_of_logits_that_are_not_finite");
    let mut check_loss = |logits: &[f64], targets: &[u32], step: u32, compared: &[&str]| {
        let op = SoftmaxCrossEntropy::new(targets.len(), logits.len() / targets.len(), 2).unwrap();
        let mut given = vec![
            real(logits),
            index(targets),
            index(&[step]),
            real(&[7.0; 2]),
            index(&[9; 2]),
            HostBuffer::zeros(Element::Real, logits.len()),
        ];
        check(&mut executors, op, &given, compared);
        // Counted if the loss is finite.
        given.push(index(&[step]));
        check(&mut executors, op.with_counter(), &given, &[compared, &["counter"]].concat());
    };
    let all = ["loss", "correct", "grad_logits"];
    let logits = [1.0, 1.0, -1.0, 5.0, 7.0, 6.0, 0.5, 0.25, 0.5];
    check_loss(&logits, &[0, NO_LABEL, 2], 1, &all);
    check_loss(&logits, &[NO_LABEL; 3], 0, &all);
    check_loss(&logits, &[1, 1, 0], 2, &all);
    check_loss(&[80.0, -90.0, 100.0, 99.0], &[1, 0], 0, &all);
    // With logits that are not finite, only the loss is specified, since it stops the training.
    for bad in [NAN, INFINITY] {
        check_loss(&[1.0, bad, 2.0, 1.0], &[0, 0], 1, &all[..2]);
        check_loss(&[bad, 0.0, 2.0, 1.0], &[0, 0], 1, &all[..2]);
        check_loss(&[1.0, bad, 2.0, 1.0], &[NO_LABEL, 0], 1, &all);
    }
    check_loss(&[-INFINITY, -INFINITY, 2.0, 1.0], &[0, 0], 1, &all[..2]);
    check_loss(&[-INFINITY, 3.0, 2.0, 1.0], &[1, 0], 1, &all);
}

#[test]
fn losses_of_smoothed_labels_and_of_batches_without_weight() {
    let mut executors = executors("losses_of_smoothed_labels_and_of_batches_without_weight");
    let mut check_loss =
        |smoothing: f32, weights: Option<&[f64]>, logits: &[f64], targets: &[u32], compared: &[&str]| {
            let op = SoftmaxCrossEntropy::new(targets.len(), logits.len() / targets.len(), 2).unwrap();
            let op = op.with_smoothing(smoothing).unwrap();
            let mut given = vec![
                real(logits),
                index(targets),
                index(&[1]),
                real(&[7.0; 2]),
                index(&[9; 2]),
                HostBuffer::zeros(Element::Real, logits.len()),
            ];
            given.extend(weights.map(real));
            let op = if weights.is_some() { op.with_class_weights().unwrap() } else { op };
            check(&mut executors, op, &given, compared);
        };
    let all = ["loss", "correct", "grad_logits"];
    let logits = [1.0, 1.0, -1.0, 5.0, 7.0, 6.0, 0.5, 0.25, 0.5];
    let forms = [(0.25, None), (0.0, Some([2.0, 0.0, 0.5])), (0.25, Some([2.0, 0.0, 0.5]))];
    for (smoothing, weights) in &forms {
        let weights = weights.as_ref().map(|weights| weights.as_slice());
        check_loss(*smoothing, weights, &logits, &[0, NO_LABEL, 2], &all);
        check_loss(*smoothing, weights, &logits, &[1, 1, 0], &all);
        check_loss(*smoothing, weights, &logits, &[NO_LABEL; 3], &all);
        // A batch with a total weight of zero, and the same with a row that is not finite.
        check_loss(*smoothing, weights, &logits, &[1, NO_LABEL, 1], &all);
        let bad = [&logits[..8], &[NAN]].concat();
        let compared = if weights.is_some() { &all[..] } else { &all[..2] };
        check_loss(*smoothing, weights, &bad, &[1, NO_LABEL, 1], compared);
        for bad in [NAN, INFINITY] {
            check_loss(*smoothing, weights, &[1.0, bad, 2.0, 2.0, 1.0, 3.0], &[0, 0], &all[..2]);
            check_loss(*smoothing, weights, &[bad, 0.0, 0.5, 2.0, 1.0, 3.0], &[2, 0], &all[..2]);
            check_loss(*smoothing, weights, &[1.0, bad, 0.5, 2.0, 1.0, 3.0], &[NO_LABEL, 0], &all);
        }
        // A row of weight 0 that is not finite, beside a row with weight.
        for bad in [NAN, INFINITY] {
            check_loss(*smoothing, weights, &[1.0, bad, 2.0, 2.0, 1.0, 3.0], &[1, 0], &all[..2]);
        }
        check_loss(
            *smoothing,
            weights,
            &[-INFINITY, -INFINITY, -INFINITY, 2.0, 1.0, 3.0],
            &[1, 0],
            &all[..2],
        );
        // A class with a logit of -infinity: it contributes nothing to the loss if its weight is 0.
        check_loss(*smoothing, weights, &[1.0, -INFINITY, 0.5, 2.0, 1.0, 3.0], &[2, 0], &all[..2]);
        check_loss(*smoothing, weights, &[-INFINITY, 1.0, 0.5, 2.0, 1.0, 3.0], &[2, 0], &all[..2]);
        check_loss(*smoothing, weights, &[-INFINITY; 6], &[2, 0], &all[..2]);
        check_loss(*smoothing, weights, &[80.0, -90.0, 0.0, 100.0, 99.0, 0.0], &[1, 0], &all);
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training() {
    let mut executors = executors("a_loss_that_is_not_finite_stops_the_training");
    for (step, loss) in [(0, 1.0), (1, NAN), (1, -NAN), (1, INFINITY), (1, -INFINITY), (1, -1.0), (2, 1.0)] {
        let (loss, step) = (real(&[0.5, loss]), index(&[step]));
        check(&mut executors, Advance { steps: 2 }, &[loss.clone(), step.clone()], &["counter"]);
        let nesterov = Optimizer::Sgd(Sgd { momentum: 0.5, nesterov: true });
        for optimizer in Optimizer::all().into_iter().chain([nesterov]) {
            let groups = Groups::with_weight_decay(0.25);
            let options = UpdateOptions { optimizer, groups, clip_norm: Some(1.0), averages: false };
            let op = Update::new(options, [(Group::Weight, 2), (Group::Bias, 1)], 2).unwrap();
            let tensors = [[2.0, -1.0], [3.0, 4.0], [1.0, 0.25], [0.5, 4.0]];
            let kinds = &tensors[..2 + optimizer.states().len()];
            let mut given: Vec<_> =
                kinds.iter().flat_map(|values| [real(values), real(&values[..1])]).collect();
            let rows = [1, 2].map(|t| optimizer.now(t, 0.25, None).row().map(f64::from));
            given.extend([real(&rows.concat()), step.clone(), loss.clone(), real(&[0.5])]);
            let compared = [&["parameter"], optimizer.states()].concat();
            check(&mut executors, op, &given, &compared);
        }
    }
}

/// The step is then treated like one whose loss is not finite.
#[test]
fn a_norm_that_is_not_finite_becomes_the_loss() {
    let mut executors = executors("a_norm_that_is_not_finite_becomes_the_loss");
    for (step, loss, gradient) in
        [(0, 1.0, 4.0), (1, 1.0, NAN), (1, 1.0, INFINITY), (1, NAN, 4.0), (2, 1.0, NAN), (1, 1.0, -INFINITY)]
    {
        let mut given =
            vec![real(&[3.0, 0.0]), real(&[gradient]), index(&[step]), real(&[0.5, loss]), real(&[NAN])];
        let scale: &[&str] = if f64::is_finite(gradient) { &["loss", "clip_scale"] } else { &["loss"] };
        let op = GradientNorm::new(vec![2, 1], 1.0, 2);
        check(&mut executors, op.clone(), &given, scale);
        given.push(index(&[step]));
        check(&mut executors, op.with_counter(), &given, &[scale, &["counter"]].concat());
    }
}

/// The scale is halved and the step left out, or the training ends, if the scale is 1; after enough good steps it is doubled.
#[test]
fn the_scale_of_a_loss_follows_the_gradients() {
    let mut executors = executors("the_scale_of_a_loss_follows_the_gradients");
    let op = GradientNorm::new(vec![2, 1], 1.0, 2).with_loss_scale();
    for loss_scale in [
        [8.0, 5.0, -1.0],
        [8.0, 1999.0, -1.0],
        [16_777_216.0, 1999.0, -1.0],
        [1.0, 7.0, -1.0],
        [0.0, 0.0, 3.0],
    ] {
        for (step, loss) in [(0, 1.0), (1, 1.0), (1, NAN), (2, 1.0)] {
            for gradient in [4.0, 0.25, NAN, INFINITY, -INFINITY, 1e30] {
                let given = [
                    real(&[3.0, 0.0]),
                    real(&[gradient]),
                    index(&[step]),
                    real(&[0.5, loss]),
                    real(&[NAN]),
                    real(&loss_scale),
                ];
                // The squares overflow in f32 alone.
                let compared: &[&str] = match gradient == 1e30 {
                    true => &["clip_scale"],
                    false => &["loss", "clip_scale", "loss_scale"],
                };
                check(&mut executors, op.clone(), &given, compared);
            }
            let mut given = vec![index(&[step]), real(&[0.5, loss]), real(&loss_scale)];
            let op = RestoreLoss::new(2);
            check(&mut executors, op, &given, &["loss", "loss_scale"]);
            given.push(index(&[step]));
            check(&mut executors, op.with_counter(), &given, &["loss", "loss_scale", "counter"]);
        }
        let given = [real(&[2.0, -3.0, 0.0]), real(&loss_scale)];
        check(&mut executors, ScaleGradient { elements: 3 }, &given, &["gradient"]);
    }
}

#[test]
fn batches_of_several_parts_and_of_rows_without_an_image() {
    let mut executors = executors("batches_of_several_parts_and_of_rows_without_an_image");
    let image = ImageShape { height: 1, width: 3, channels: 1 };
    for (first_row, step) in [(0, 0), (0, 1), (3, 0), (3, 1), (0, 2), (3, u32::MAX)] {
        let op = GatherBatch { batch_size: 4, image, classes: 10, steps: 2, rows: 3, first_row };
        let given = [
            HostBuffer::byte(vec![1, 2, 3, 4, 5, 6, 253, 254, 255]),
            index(&[7, 8, 9]),
            index(&[0, 5, NO_ROW, 2, 3, NO_ROW, 6, 1]),
            index(&[step]),
            real(&[0.5, -1.0]),
            real(&[-9.0; 12]),
            index(&[6; 4]),
            index(&[77]),
        ];
        check(&mut executors, op, &given, &["input", "targets", "step"]);
    }
}

/// Values from -1 to 1, without pattern.
fn drawn(shape: Shape, seed: usize) -> Tensor {
    let values = (0..shape.elements()).map(|i| ((i + seed) * 7919 % 251) as f32 / 125.0 - 1.0).collect();
    Tensor::new(shape, values).unwrap()
}

/// The same with a value that is not finite at some places, the first and the last among them.
fn spoilt(tensor: &Tensor, bad: f32, places: usize) -> Tensor {
    let mut values = tensor.data().to_vec();
    for place in 0..places {
        let last = values.len() - 1;
        values[place * last / (places - 1).max(1)] = if place == 1 { -bad } else { bad };
    }
    Tensor::new(tensor.shape().clone(), values).unwrap()
}

/// The three passes of a convolution; input, filters, grad_output.
fn passes(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    [input, filters, grad_output]: [&Tensor; 3],
    bias: Option<&Tensor>,
) -> [Tensor; 3] {
    [
        convolution::forward(executor, geometry, input, filters, bias).unwrap(),
        convolution::grad_filters(executor, geometry, input, grad_output).unwrap(),
        convolution::grad_input(executor, geometry, filters, grad_output).unwrap(),
    ]
}

/// Where the definition has infinity and NaN, and nowhere else: the padding's zeros meet no infinite filter, and no value
/// spreads to its neighbours.
#[test]
fn convolutions_of_infinity_and_nan() {
    let mut executors = executors("convolutions_of_infinity_and_nan");
    let on_gpus =
        ["lenet 1", "four different sides", "groups and dilation", "depthwise", "3x3, odd channels"];
    let mut not_finite = [0; 3];
    for (name, geometry) in conv::geometries() {
        if geometry.flops() > 4_000_000 {
            continue;
        }
        let shapes = [geometry.input_shape(), geometry.filters_shape(), geometry.output_shape()];
        let mut seed = 0;
        let sound = shapes.map(|shape| {
            seed += 1;
            drawn(shape, seed)
        });
        let bias = drawn([geometry.out_channels].into(), 4);
        for (bad, places) in [(f32::INFINITY, 1), (f32::INFINITY, 3), (f32::NAN, 1), (f32::NEG_INFINITY, 2)] {
            for which in 0..4 {
                let (mut given, mut bias) = (sound.clone(), bias.clone());
                match which {
                    3 => bias = spoilt(&bias, bad, places),
                    _ => given[which] = spoilt(&given[which], bad, places),
                }
                let given = given.each_ref();
                let defined = passes(&mut ReferenceExecutor::new(), &geometry, given, Some(&bias));
                for (number, executor) in executors.iter_mut().enumerate() {
                    if number > 0 && !on_gpus.contains(&name) {
                        continue;
                    }
                    let found = passes(executor.as_mut(), &geometry, given, Some(&bias));
                    for (pass, (defined, found)) in defined.iter().zip(&found).enumerate() {
                        for (i, (&defined, &found)) in defined.data().iter().zip(found.data()).enumerate() {
                            not_finite[pass] += usize::from(!defined.is_finite());
                            let same = found == defined
                                || (found - defined).abs() < 1e-4 * defined.abs().max(1.0)
                                || defined.is_nan() && found.is_nan();
                            assert!(
                                same,
                                "{name}, {bad} in operand {which}, pass {pass}[{i}] on {}: expected {defined}, found {found}",
                                executor.device_name()
                            );
                        }
                    }
                }
            }
        }
    }
    assert!(not_finite.iter().all(|&count| count > 1000), "{not_finite:?}");
}
