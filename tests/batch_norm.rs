//! Batch normalisation takes the same steps as PyTorch, and has the properties that no single operation shows:
//! statistics that outlive a step, bad steps without effect, evaluation.
//!
//! The values are from tests/golden/make.py: in float64, with gradients through autograd.

mod common;
#[path = "golden/file.rs"]
mod file;

use std::collections::HashMap;
use std::sync::Arc;

use file::File;
use serde::Deserialize;
use wgconv::device::{DeviceKind, DeviceProfile};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::Conv2d;
use wgconv::layers::{Affine, BatchNorm};
use wgconv::network::Network;
use wgconv::network::NetworkBuilder;
use wgconv::ops::activation::Activation;
use wgconv::ops::conv::{ConvBatchNorm, ConvForward, ConvGeometry};
use wgconv::ops::norm::{BatchNormForward, BatchNormGrad, BatchNormSize, BatchNormTrain, RunningStatistics};
use wgconv::ops::optimizer::UpdateOptions;
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{Element, Epilogue, HostBuffer, Op, Operands};
use wgconv::plan::{
    DataParts, Executor, LossOptions, Plan, Prologues, Step, TrainOptions, Workbench, predict_plan,
    train_plan,
};
use wgconv::tensor::ImageShape;

/// Both sides compute in float64.
const DEFINITION_TOLERANCE: f64 = 1e-12;
/// Relative to the largest value: f32, and sums in another order.
const TOLERANCE: f64 = 1e-5;
/// A mean of 1000 is itself rounded in f32.
const TOLERANCE_FAR_FROM_ZERO: f64 = 2e-4;

fn executors(test: &str) -> Vec<Box<dyn Workbench>> {
    let mut executors: Vec<Box<dyn Workbench>> = vec![Box::new(CpuExecutor::new())];
    for checks in [ShaderChecks::Off, ShaderChecks::On] {
        executors.extend(common::gpu(test, checks).map(|gpu| Box::new(gpu) as Box<dyn Workbench>));
    }
    executors
}

fn defined(op: &dyn Op, given: Vec<HostBuffer<f64>>) -> Vec<HostBuffer<f64>> {
    let mut operands = Operands::new(given);
    op.define(&mut operands);
    operands.into_buffers()
}

fn run_on(executor: &mut dyn Executor, op: Box<dyn Op>, given: &[HostBuffer<f64>]) -> Vec<HostBuffer<f64>> {
    executor.clear();
    let plan = Arc::new(Plan::of_op(op));
    let prepared = executor.prepare(plan.clone()).unwrap();
    let buffers = &plan.forward[0].operands;
    for (&buffer, given) in buffers.iter().zip(given) {
        executor.write(prepared, buffer, &given.map_reals(|&value| value as f32)).unwrap();
    }
    executor.run(prepared, 1).unwrap();
    let read = |&buffer| executor.read(prepared, buffer).unwrap().map_reals(|&value| f64::from(value));
    buffers.iter().map(read).collect()
}

#[derive(Deserialize)]
struct Settings {
    name: String,
    eps: f32,
    momentum: f32,
    affine: bool,
    steps: usize,
}

/// Tensors by the names of operands.
type Tensors = HashMap<String, HostBuffer<f64>>;

/// Runs an operation: from the content of its operands before to that after.
type RunOp<'a> = dyn FnMut(Box<dyn Op>, Vec<HostBuffer<f64>>) -> Vec<HostBuffer<f64>> + 'a;

/// A case of the file, and the function that runs operations.
struct Case<'a, 'b> {
    settings: &'a Settings,
    given: Tensors,
    rows: usize,
    channels: usize,
    run: &'a mut RunOp<'b>,
}

impl Case<'_, '_> {
    /// Runs an operation on the tensors with the names of its operands.
    fn apply(&mut self, op: impl Op + 'static, tensors: &mut Tensors) {
        let declared = op.operands();
        let given = declared.iter().map(|operand| match tensors.get(operand.name) {
            Some(found) if operand.access.reads() => found.clone(),
            _ => HostBuffer::real(vec![f64::NAN; operand.shape.elements()]),
        });
        let found = (self.run)(Box::new(op), given.collect());
        tensors.extend(declared.iter().map(|operand| operand.name.to_string()).zip(found));
    }

    /// The results of the layer in each step, and then in an evaluation: everything that PyTorch computed.
    fn steps(mut self) -> HashMap<String, Vec<f64>> {
        let &Settings { eps: epsilon, momentum, affine, steps, .. } = self.settings;
        let (rows, channels) = (self.rows, self.channels);
        let size = BatchNormSize { rows, channels, epsilon, affine };
        let mut all: HashMap<String, Vec<f64>> = HashMap::new();
        let mut tensors = self.given.clone();
        for step in 0..steps {
            for name in ["input", "grad_output"] {
                let elements = rows * channels;
                let batch = &self.given[name].reals()[step * elements..][..elements];
                tensors.insert(name.into(), HostBuffer::real(batch.to_vec()));
            }
            tensors.insert("step".into(), HostBuffer::index(vec![step as u32]));
            tensors.insert("loss".into(), HostBuffer::real(vec![0.0; steps]));
            self.apply(BatchNormTrain::new(size), &mut tensors);
            self.apply(BatchNormGrad::new(size, true), &mut tensors);
            for (running, batch) in [("running_mean", "mean"), ("running_var", "variance")] {
                tensors.insert("running".into(), tensors[running].clone());
                tensors.insert("batch".into(), tensors[batch].clone());
                self.apply(RunningStatistics { elements: vec![channels], momentum, steps }, &mut tensors);
                tensors.insert(running.into(), tensors["running"].clone());
            }
            for name in ["output", "grad_input", "grad_weight", "grad_bias", "running_mean", "running_var"] {
                let name_of_all = name.replace("running_mean", "running_mean_after");
                let name_of_all = name_of_all.replace("running_var", "running_var_after");
                all.entry(name_of_all).or_default().extend(tensors[name].reals());
            }
        }
        tensors.insert("mean".into(), tensors["running_mean"].clone());
        tensors.insert("variance".into(), tensors["running_var"].clone());
        self.apply(BatchNormForward::new(size), &mut tensors);
        all.insert("evaluated".into(), tensors["output"].reals().to_vec());
        all
    }
}

/// The largest difference of any tensor of any case, if none is too large.
fn compare(run: &mut RunOp<'_>, tolerance: impl Fn(&str) -> f64) -> f64 {
    let file = File::read("batch_norm.safetensors");
    let mut kinds: HashMap<String, serde_json::Value> = file.described();
    let cases: Vec<Settings> = serde_json::from_value(kinds.remove("batch_norm").unwrap()).unwrap();
    assert_eq!(cases.len(), 9);
    let mut worst: f64 = 0.0;
    for settings in &cases {
        let prefix = format!("batch_norm/{}/", settings.name);
        let of_case = |tensors: &file::Tensors| -> Tensors {
            let named =
                tensors.iter().filter_map(|(path, stored)| Some((path.strip_prefix(&prefix)?, stored)));
            named.map(|(name, stored)| (name.into(), stored.inside())).collect()
        };
        let given = of_case(&file.given);
        let channels = given["running_mean"].len();
        let rows = given["input"].len() / channels / settings.steps;
        let found = Case { settings, given, rows, channels, run }.steps();
        let computed = of_case(&file.computed);
        assert_eq!(computed.len(), if settings.affine { 7 } else { 5 }, "{prefix}");
        for (name, expected) in computed {
            let (expected, found) = (expected.reals(), &found[&name]);
            assert_eq!(expected.len(), found.len(), "{prefix}{name}");
            let size = expected.iter().fold(1.0f64, |size, value| size.max(value.abs()));
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                let difference = (expected - found).abs() / size;
                assert!(
                    difference <= tolerance(&settings.name),
                    "{prefix}{name}[{index}]: PyTorch has {expected}, found {found}, off by {difference:e}"
                );
                worst = worst.max(difference);
            }
        }
    }
    worst
}

#[test]
fn steps_and_evaluation_match_pytorch() {
    let worst = compare(&mut |op, given| defined(op.as_ref(), given), |_| DEFINITION_TOLERANCE);
    println!("definitions: {worst:.1e}");
    let tolerance = |name: &str| match name {
        "means far from zero" => TOLERANCE_FAR_FROM_ZERO,
        _ => TOLERANCE,
    };
    for mut executor in executors("steps_and_evaluation_match_pytorch") {
        let worst = compare(&mut |op, given| run_on(executor.as_mut(), op, &given), tolerance);
        println!("{}: {worst:.1e}", executor.device_name());
    }
}

/// In every implementation, over several slices and chunks, the variance of values around 10,000 keeps its digits. A
/// difference of squares would lose all of them.
#[test]
fn a_mean_far_from_zero_costs_the_variance_no_digits() {
    for mut executor in executors("a_mean_far_from_zero_costs_the_variance_no_digits") {
        for (rows, channels) in [(300, 1), (20_011, 3), (5003, 65)] {
            let op = BatchNormTrain::new(BatchNormSize { rows, channels, epsilon: 1e-5, affine: false });
            let given = vec![far_from_zero(rows, channels)];
            assert_statistics_far_from_zero(executor.as_mut(), op, given);
        }
    }
}

/// Nor where a convolution leaves the moments: the first ones copy their input, the last one's bias is far from zero.
#[test]
fn moments_that_a_convolution_leaves_keep_their_digits() {
    for mut executor in executors("moments_that_a_convolution_leaves_keep_their_digits") {
        let image = ImageShape { height: 16, width: 16, channels: 32 };
        let window = WindowOptions { padding: Padding::Same, ..WindowOptions::new([3, 3]) };
        let geometry = ConvGeometry::new(2, image, 64, 1, &window).unwrap();
        let size = BatchNormSize { rows: 512, channels: 64, epsilon: 1e-5, affine: false };
        let biased = Epilogue { bias: true, ..Epilogue::NONE };
        let conv = ConvForward::new(geometry).with_epilogue(biased);
        let op = ConvBatchNorm::new(conv, BatchNormTrain::new(size)).unwrap();
        let values = |elements: usize, factor: usize| {
            HostBuffer::real((0..elements).map(|i| (i * factor % 1009) as f64 / 512.0 - 1.0).collect())
        };
        let convolved = HostBuffer::real(vec![f64::NAN; 512 * 64]);
        let bias = HostBuffer::real(vec![FAR; 64]);
        let given = vec![values(512 * 32, 7919), values(64 * 9 * 32, 104_729), convolved, bias];
        let leaving = executor.implementations(&op).into_iter().filter(|name| name.ends_with("_moments"));
        // In tiles of a product, and in Winograd's of two sizes.
        assert!(executor.device_name().starts_with("CPU") || leaving.count() >= 3);
        assert_statistics_far_from_zero(executor.as_mut(), op, given);
        for (rows, channels) in [(300, 8), (9011, 9), (1003, 65)] {
            let image = ImageShape { height: 1, width: rows, channels };
            let geometry = ConvGeometry::new(1, image, channels, 1, &WindowOptions::new([1, 1])).unwrap();
            let size = BatchNormSize { rows, channels, epsilon: 1e-5, affine: false };
            let op = ConvBatchNorm::new(ConvForward::new(geometry), BatchNormTrain::new(size)).unwrap();
            let one = |i: usize| if i / channels == i % channels { 1.0 } else { 0.0 };
            let identity = HostBuffer::real((0..channels * channels).map(one).collect());
            let given = vec![far_from_zero(rows, channels), identity];
            assert_statistics_far_from_zero(executor.as_mut(), op, given);
        }
    }
}

const FAR: f64 = 10_000.0;

fn far_from_zero(rows: usize, channels: usize) -> HostBuffer<f64> {
    let value = |i: usize| f64::from((FAR + (i * 7919 % 1009) as f64 / 512.0) as f32);
    HostBuffer::real((0..rows * channels).map(value).collect())
}

/// In every implementation of an operation whose last operands are a mean and a variance, these are those of its definition.
fn assert_statistics_far_from_zero(
    executor: &mut dyn Workbench,
    op: impl Op + Copy,
    mut given: Vec<HostBuffer<f64>>,
) {
    let nothing = op.operands().split_off(given.len());
    let nothing = nothing.iter().map(|operand| HostBuffer::real(vec![f64::NAN; operand.shape.elements()]));
    given.extend(nothing);
    let expected = defined(&op, given.clone());
    for implementation in executor.implementations(&op) {
        executor.prefer(implementation);
        let found = run_on(executor, Box::new(op), &given);
        let [.., expected_mean, expected_variance] = &expected[..] else { panic!("two statistics") };
        let [.., mean, variance] = &found[..] else { panic!("two statistics") };
        for k in 0..mean.len() {
            let what = format!("{}, {op:?}, {implementation}", executor.device_name());
            let error = (mean.reals()[k] - expected_mean.reals()[k]).abs();
            assert!(error < 1e-7 * FAR, "{what}: mean off by {error:e}");
            let expected = expected_variance.reals()[k];
            let error = (variance.reals()[k] - expected).abs();
            assert!(error < 1e-4 * expected, "{what}: variance {expected} off by {error:e}");
        }
    }
}

const IMAGE: ImageShape = ImageShape { height: 1, width: 3, channels: 2 };

fn classifier() -> Network {
    let network = Network::builder("test", IMAGE).batch_norm().flatten().dense(5);
    network.layer(BatchNorm::new().affine(Affine::Shift)).dense(4).build().unwrap()
}

/// Running statistics before and after a step of training in which each weight of the last layer is `weight`.
fn statistics_around_a_step(
    executor: &mut dyn Executor,
    weight: f32,
    clip_norm: Option<f32>,
) -> [Vec<Vec<f32>>; 2] {
    let network = classifier();
    let data = DataParts { name: "train", image: IMAGE, classes: 4, rows: vec![4] };
    let update = UpdateOptions { clip_norm, ..UpdateOptions::default() };
    let plan = train_plan(
        &network,
        &TrainOptions { batch_size: 4, steps: 1, data, loss: LossOptions::default(), update, augment: None },
    )
    .unwrap();
    plan.assert_valid();
    let plan = Arc::new(plan);
    executor.clear();
    let prepared = executor.prepare(plan.clone()).unwrap();
    let mut write = |name: &str, content: HostBuffer<f32>| {
        executor.write(prepared, plan.expect(name), &content).unwrap();
    };
    write("normalisation", HostBuffer::real(vec![1.0, 1.0, 0.0, 0.0]));
    write("train/images.0", HostBuffer::byte((0..24).map(|i| (i * 37 % 101) as u8).collect()));
    write("train/labels.0", HostBuffer::index(vec![0, 1, 2, 3]));
    write("train/order", HostBuffer::index(vec![0, 1, 2, 3]));
    write("train/schedule", HostBuffer::real(vec![0.1, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]));
    write("train/step", HostBuffer::index(vec![0]));
    let weights = network.initial_weights(3).unwrap();
    for variable in network.variables() {
        let mut values = weights.values(variable).unwrap();
        if variable.name == "dense2.weight" {
            values.iter_mut().enumerate().for_each(|(i, value)| *value = weight * (i % 3) as f32);
        }
        write(&variable.name, HostBuffer::real(values));
    }
    let statistics = |executor: &mut dyn Executor| -> Vec<Vec<f32>> {
        let names = network.variables().map(|variable| &variable.name);
        let names = names.filter(|name| name.contains("running"));
        names.map(|name| executor.read(prepared, plan.expect(name)).unwrap().reals().to_vec()).collect()
    };
    let before = statistics(executor);
    executor.run(prepared, 1).unwrap();
    [before, statistics(executor)]
}

#[test]
fn a_bad_step_leaves_running_statistics_as_they_were() {
    let mut executors = executors("a_bad_step_leaves_running_statistics_as_they_were");
    executors.push(Box::new(ReferenceExecutor::new()));
    for executor in &mut executors {
        let device = executor.device_name();
        for clip_norm in [None, Some(1.0)] {
            let [before, after] = statistics_around_a_step(executor.as_mut(), 0.1, clip_norm);
            assert_eq!(before.len(), 4);
            assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{device}");
            let [before, after] = statistics_around_a_step(executor.as_mut(), f32::NAN, clip_norm);
            assert_eq!(before, after, "{device}");
        }
    }
    // In f32 the loss of these weights is finite, and the norm of their gradients is not.
    executors.pop();
    for executor in &mut executors {
        let [before, after] = statistics_around_a_step(executor.as_mut(), 1e30, Some(1.0));
        assert_eq!(before, after, "{}", executor.device_name());
        let [before, after] = statistics_around_a_step(executor.as_mut(), 1e30, None);
        assert_ne!(before, after, "{}", executor.device_name());
    }
}

/// An image's output is the same to the last bit, whichever other images are in the batch.
#[test]
fn evaluation_is_independent_of_the_batch() {
    let network = Network::builder("test", IMAGE).batch_norm().flatten().build().unwrap();
    let images: Vec<f32> = (0..4 * IMAGE.elements()).map(|i| (i * 37 % 101) as f32 / 7.0 - 5.0).collect();
    for mut executor in executors("evaluation_is_independent_of_the_batch") {
        let mut predict = |images: &[f32]| -> Vec<f32> {
            executor.clear();
            let plan = Arc::new(predict_plan(&network, images.len() / IMAGE.elements()).unwrap());
            let prepared = executor.prepare(plan.clone()).unwrap();
            let mut write = |name: &str, values: &[f32]| {
                executor.write(prepared, plan.expect(name), &HostBuffer::real(values.to_vec())).unwrap();
            };
            write("input", images);
            write("batch_norm1.weight", &[2.0, -1.0]);
            write("batch_norm1.bias", &[0.5, 0.25]);
            write("batch_norm1.running_mean", &[1.0, 3.0]);
            write("batch_norm1.running_var", &[4.0, 0.5]);
            executor.run(prepared, 1).unwrap();
            let output = plan.buffers.iter().find(|buffer| buffer.kept).unwrap();
            assert_eq!(output.element, Element::Real);
            executor.read(prepared, plan.expect(&output.name)).unwrap().reals().to_vec()
        };
        let together = predict(&images);
        let apart: Vec<f32> = images.chunks(IMAGE.elements()).flat_map(&mut predict).collect();
        assert_eq!(together, apart);
        let expected = (f64::from(images[0]) - 1.0) / (4.0f64 + 1e-5).sqrt() * 2.0 + 0.5;
        assert!((f64::from(together[0]) - expected).abs() < 1e-5, "{} {expected}", together[0]);
    }
}

/// A step of training on maps of 12x12 in batches of 32.
fn training_step(network: &Network) -> Plan {
    let data = DataParts { name: "train", image: MAP, classes: 10, rows: vec![32] };
    let (loss, update) = (LossOptions::default(), UpdateOptions::default());
    let options = TrainOptions { batch_size: 32, steps: 1, data, loss, update, augment: None };
    let plan = train_plan(network, &options).unwrap().fused(Prologues::WhereTheyPay);
    plan.assert_valid();
    plan
}

const MAP: ImageShape = ImageShape { height: 12, width: 12, channels: 3 };

fn conv(filters: usize) -> Conv2d {
    Conv2d::new(filters, [3, 3]).same().without_bias()
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().map(|step| step.op.name()).collect()
}

/// Launches on a large GPU of the steps with names that begin like this.
fn launches(steps: &[Step], name: &str) -> usize {
    let device = DeviceProfile {
        kind: DeviceKind::DiscreteGpu,
        max_workgroup_invocations: 1024,
        ..DeviceProfile::portable()
    };
    let steps = steps.iter().filter(|step| step.op.name().starts_with(name));
    steps.map(|step| step.op.implementations(&device)[0].calls.len()).sum()
}

#[test]
fn a_convolution_and_its_normalisation_and_all_behind_it_take_two_launches_forward() {
    type Behind = fn(NetworkBuilder) -> NetworkBuilder;
    let behind: [(&str, Behind, usize); 6] = [
        ("nothing", |network| network, 1),
        ("relu", NetworkBuilder::relu, 1),
        ("gelu", |network| network.activation(Activation::Gelu), 1),
        ("leaky_relu", |network| network.activation(Activation::LeakyRelu { slope: 0.1 }), 1),
        ("a sum and relu", |network| network.add("conv0").relu(), 1),
        (
            "two normalised branches and relu",
            |network| network.conv2d(conv(8)).conv2d(conv(8)).batch_norm().add("bn0").relu(),
            2,
        ),
    ];
    for (name, behind, normalisations) in behind {
        let network = Network::builder("test", MAP).conv2d(conv(8)).named("conv0");
        let network = network.conv2d(conv(8)).conv2d(conv(8));
        let network = behind(network.batch_norm().named("bn0")).global_average_pool().dense(10);
        let plan = training_step(&network.build().unwrap());
        // One of the two is the convolution before it, which leaves the moments of its tiles.
        for (steps, step) in [(&plan.forward, "conv2d.batch_norm"), (&plan.backward, "batch_norm")] {
            assert_eq!(launches(steps, step), 2 * normalisations, "{name}: {:?}", names(steps));
            assert_eq!(launches(steps, "activation"), 0, "{name}: {:?}", names(steps));
        }
        assert_eq!(launches(&plan.forward, "batch_norm"), 0, "{name}: {:?}", names(&plan.forward));
        assert_eq!(launches(&plan.forward, "add"), 0, "{name}: {:?}", names(&plan.forward));
        // All layers' statistics move at once.
        assert_eq!(launches(&plan.update, "batch_norm"), 1, "{name}: {:?}", names(&plan.update));
    }
}

/// Neither the normalised tensor nor its gradient exists in memory.
#[test]
fn what_is_computed_again_takes_no_memory() {
    for activation in [Activation::Relu, Activation::Gelu, Activation::Silu] {
        let network = Network::builder("test", MAP).conv2d(conv(8)).batch_norm().activation(activation);
        let plan = training_step(&network.global_average_pool().dense(10).build().unwrap());
        let is_used = |name: &str| plan.steps().any(|step| step.operands.contains(&plan.expect(name)));
        assert!(is_used("conv1.output") && is_used("conv1.output.grad"));
        assert!(!is_used("batch_norm1.output") && !is_used("batch_norm1.output.grad"), "{activation:?}");
    }
}

/// Statistics with momentums of their own lie side by side all the same.
#[test]
fn statistics_with_other_momentums_move_apart() {
    let with = |momentum| BatchNorm::new().momentum(momentum);
    let network =
        Network::builder("test", MAP).conv2d(conv(4)).layer(with(0.1)).conv2d(conv(5)).layer(with(0.1));
    let network = network.conv2d(conv(6)).layer(with(0.5)).global_average_pool().dense(10).build().unwrap();
    assert_eq!(launches(&training_step(&network).update, "batch_norm"), 2);
}

/// A convolution does not add the other branch of a residual block: the normalisation behind it does, with what follows.
#[test]
fn evaluation_of_a_residual_block_adds_as_it_normalises() {
    let network = Network::builder("test", MAP)
        .conv2d(conv(8))
        .batch_norm()
        .relu()
        .residual(|path| path.conv2d(conv(8)).batch_norm().relu().conv2d(conv(8)).batch_norm());
    let network = network.relu().global_average_pool().dense(10).build().unwrap();
    let plan = predict_plan(&network, 2).unwrap().fused(Prologues::WhereTheyPay);
    plan.assert_valid();
    let conv = "conv2d.forward";
    assert_eq!(names(&plan.forward)[..4], [conv, conv, conv, "batch_norm.forward"]);
    assert_eq!(names(&plan.forward).len(), 6, "{:?}", names(&plan.forward));
}

/// In evaluation, a normalisation is a part of the convolution before it, and of a sum with what is behind it: the answer is
/// that of separate steps, up to the rounding of an implementation of its own.
#[test]
fn evaluation_takes_one_launch_for_each_convolution() {
    let network = Network::builder("test", MAP)
        .conv2d(conv(8))
        .batch_norm()
        .relu()
        .conv2d(conv(8).groups(8))
        .batch_norm()
        .activation(Activation::HardSwish)
        .flatten()
        .dense(10)
        .batch_norm()
        .build()
        .unwrap();
    let plan = || predict_plan(&network, 2).unwrap();
    let fused = plan().fused(Prologues::WhereTheyPay);
    fused.assert_valid();
    assert_eq!(names(&fused.forward), ["conv2d.forward", "conv2d.forward", "dense.forward"]);
    let weights = network.initial_weights(5).unwrap();
    let images: Vec<f32> = (0..2 * MAP.elements()).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    for mut executor in executors("evaluation_takes_one_launch_for_each_convolution") {
        let mut answer = |plan: Plan| -> Vec<f32> {
            executor.clear();
            let plan = Arc::new(plan);
            let prepared = executor.prepare(plan.clone()).unwrap();
            let mut write = |name: &str, values: Vec<f32>| {
                executor.write(prepared, plan.expect(name), &HostBuffer::real(values)).unwrap();
            };
            write("input", images.clone());
            for (number, variable) in network.variables().enumerate() {
                let mut values = weights.values(variable).unwrap();
                if variable.name.contains("batch_norm") {
                    let some = |i: usize| 0.5 + ((number * 13 + i * 7) % 11) as f32 / 8.0;
                    values.iter_mut().enumerate().for_each(|(i, value)| *value = some(i));
                }
                write(&variable.name, values);
            }
            executor.run(prepared, 1).unwrap();
            let output = plan.kept().next().unwrap();
            executor.read(prepared, output).unwrap().reals().to_vec()
        };
        let (apart, fused) = (answer(plan()), answer(plan().fused(Prologues::WhereTheyPay)));
        let size = apart.iter().fold(0.0f32, |size, value| size.max(value.abs()));
        for (apart, fused) in apart.iter().zip(&fused) {
            assert!((apart - fused).abs() <= 1e-5 * size, "{}: {apart} {fused}", executor.device_name());
        }
    }
}
