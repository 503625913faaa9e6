//! Training as a whole: every executor takes the same steps, a small CNN learns, the same seed gives the same bits, and
//! failures are explained.

mod common;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use approx::{assert_abs_diff_eq, relative_eq};
use wgconv::data::{self, DataSplits, HeldOut, LoadOptions, Normalisation};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::Conv2d;
use wgconv::network::{Network, Weights, presets};
use wgconv::ops::HostBuffer;
use wgconv::ops::activation::Activation;
use wgconv::ops::optimizer::{Groups, Optimizer, Sgd};
use wgconv::ops::window::Padding;
use wgconv::plan::{BufferId, Executor, Memory, Pending, Plan, Prepared};
use wgconv::train::{Evaluator, Schedule, TrainSettings, Trainer};
use wgconv::{Error, Result};

/// MNIST from the folder in WGCONV_DATA, otherwise the built-in digits.
fn digits(test: &str) -> DataSplits {
    match std::env::var("WGCONV_DATA") {
        Ok(folder) => {
            data::load(&format!("{folder}/mnist"), &LoadOptions::default()).expect("MNIST in WGCONV_DATA")
        }
        Err(_) => {
            eprintln!("{test}: WGCONV_DATA is not set; real digits are SKIPPED, and built-in ones stand in");
            data::load("synthetic", &LoadOptions::default()).expect("built-in digits")
        }
    }
}

fn head(data: DataSplits, train: usize, test: usize) -> DataSplits {
    DataSplits::new(&data.name, data.train.head(train), data.test.head(test)).unwrap()
}

fn lenet(data: &DataSplits) -> Network {
    presets::lenet(data.train.image, data.train.classes.len()).unwrap()
}

/// A network of a few thousand parameters.
fn tiny(data: &DataSplits) -> Network {
    let builder = Network::builder("tiny", data.train.image);
    builder
        .conv2d(Conv2d::new(8, [5, 5]).stride([2, 2]))
        .relu()
        .max_pool(2)
        .flatten()
        .dense(10)
        .build()
        .unwrap()
}

fn watch_all(_: &wgconv::train::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn losses(
    executor: Box<dyn Executor>,
    network: Network,
    data: &DataSplits,
    settings: &TrainSettings,
) -> Vec<f32> {
    let mut trainer = Trainer::new(executor, network, data, settings.clone()).unwrap();
    trainer.run_epoch(watch_all).unwrap().losses
}

fn hash(weights: &Weights) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, tensor) in weights.iter() {
        name.hash(&mut hasher);
        bytemuck::cast_slice::<f32, u32>(tensor.data()).hash(&mut hasher);
    }
    hasher.finish()
}

fn assert_close(what: &str, expected: &[f32], found: &[f32], relative: f32) {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (step, (expected, found)) in expected.iter().zip(found).enumerate() {
        let close = relative_eq!(*expected, *found, epsilon = 0.0, max_relative = relative);
        assert!(close, "{what}: loss of step {step}: expected {expected}, found {found}");
    }
    let differences = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs() / expected);
    println!("{what}: losses differ by at most {:.1e}", differences.fold(0.0, f32::max));
}

/// LeNet as in 1998, with the hyperbolic tangent and average pools: its gradients are continuous, so that rounding
/// errors stay small from step to step.
fn smooth(data: &DataSplits) -> Network {
    let conv = |filters| Conv2d::new(filters, [5, 5]).padding(Padding::Same);
    Network::builder("smooth", data.train.image)
        .conv2d(conv(6))
        .activation(Activation::Tanh)
        .average_pool(2)
        .conv2d(conv(16))
        .activation(Activation::Tanh)
        .average_pool(2)
        .flatten()
        .dense(84)
        .activation(Activation::Tanh)
        .dense(data.train.classes.len())
        .build()
        .unwrap()
}

/// Of runs beside the reference, whose loops take long.
const BATCH_SIZE: usize = 32;

#[test]
fn the_first_fifty_losses_are_those_of_the_reference() {
    const TEST: &str = "the_first_fifty_losses_are_those_of_the_reference";
    let settings = TrainSettings { batch_size: BATCH_SIZE, ..TrainSettings::default() };
    let data = head(digits(TEST), 50 * settings.batch_size, settings.batch_size);
    let expected = losses(Box::new(ReferenceExecutor::new()), smooth(&data), &data, &settings);
    assert_eq!(expected.len(), 50);
    assert!(expected[49] < 0.5 * expected[0], "the reference learns: {expected:?}");
    let cpu = losses(Box::new(CpuExecutor::new()), smooth(&data), &data, &settings);
    assert_close("CPU", &expected, &cpu, 1e-5);
    // A negative control: a run from another seed must not pass.
    let other = TrainSettings { seed: 1, ..settings.clone() };
    let other = losses(Box::new(CpuExecutor::new()), smooth(&data), &data, &other);
    let close = expected.iter().zip(&other).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs());
    assert!(!close, "another seed takes other steps");
    let Some(gpu) = common::gpu(TEST, ShaderChecks::Off) else { return };
    let gpu = losses(Box::new(gpu), smooth(&data), &data, &settings);
    assert_close("GPU", &expected, &gpu, 1e-5);
}

/// A training plan on one executor, ready for its first step.
struct Run {
    executor: Box<dyn Executor>,
    plan: Arc<Plan>,
    prepared: Prepared,
}

impl Run {
    fn read(&mut self, name: &str) -> Vec<f32> {
        self.executor.read(self.prepared, self.plan.expect(name)).unwrap().reals().to_vec()
    }

    fn write(&mut self, name: &str, values: Vec<f32>) {
        self.executor.write(self.prepared, self.plan.expect(name), &HostBuffer::real(values)).unwrap();
    }
}

/// The default run, with each step starting from the reference's parameters and velocities. Now and then, rounding
/// decides which value of a pooling window is the largest, or on which side of zero a ReLU's input lies, and the
/// gradient then changes by more than rounding: two independent runs diverge there, whether they differ in precision or
/// in the order of sums. From the same state, every loss must still match the reference's, and so must the whole state
/// except after an occasional step of this kind.
#[test]
fn every_step_from_the_same_state_matches_the_reference() {
    const TEST: &str = "every_step_from_the_same_state_matches_the_reference";
    const STEPS: usize = 50;
    let settings = TrainSettings { batch_size: BATCH_SIZE, ..TrainSettings::default() };
    let data = head(digits(TEST), STEPS * settings.batch_size, 8);
    let network = lenet(&data);
    let start = |executor: Box<dyn Executor>| {
        let mut trainer = Trainer::new(executor, network.clone(), &data, settings.clone()).unwrap();
        trainer.start_epoch().unwrap();
        let (executor, plan, prepared) = trainer.into_parts();
        Run { executor, plan, prepared }
    };
    let mut reference = start(Box::new(ReferenceExecutor::new()));
    let mut others = vec![start(Box::new(CpuExecutor::new()))];
    others.extend(common::gpu(TEST, ShaderChecks::Off).map(|gpu| start(Box::new(gpu))));
    let state: Vec<String> = network
        .variables()
        .flat_map(|parameter| [parameter.name.clone(), format!("{}.velocity", parameter.name)])
        .collect();
    let mut turns = vec![0; others.len()];
    for step in 0..STEPS {
        reference.executor.run(reference.prepared, 1).unwrap();
        let expected = reference.read("train/loss")[step];
        let after: Vec<Vec<f32>> = state.iter().map(|name| reference.read(name)).collect();
        for (other, turns) in others.iter_mut().zip(&mut turns) {
            other.executor.run(other.prepared, 1).unwrap();
            let found = other.read("train/loss")[step];
            let what = format!("{}, step {step}", other.executor.device_name());
            assert!(
                (found - expected).abs() <= 1e-6 * expected,
                "{what}: expected {expected}, found {found}"
            );
            let mut worst = 0.0_f32;
            for (name, after) in state.iter().zip(&after) {
                let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
                let found = other.read(name);
                let error = norm(&mut found.iter().zip(after).map(|(a, b)| a - b));
                let size = norm(&mut after.iter().copied());
                assert!(error <= 1e-2 * size, "{what}: {name} is off by {:e}", error / size);
                worst = worst.max(error / size);
                other.write(name, after.clone());
            }
            *turns += usize::from(worst > 1e-5);
        }
        // The other executors start from values that were rounded to f32.
        for (name, after) in state.iter().zip(after) {
            reference.write(name, after);
        }
    }
    for (other, turns) in others.iter().zip(turns) {
        let device = other.executor.device_name();
        println!("{device}: in {turns} of {STEPS} steps a gradient took another way");
        assert!(turns <= STEPS / 5, "{device}: in {turns} of {STEPS} steps the state is not the reference's");
    }
}

/// A hash of the weights after 100 steps.
fn hundred_steps(executor: Box<dyn Executor>, data: &DataSplits, seed: u64) -> u64 {
    let settings = TrainSettings { batch_size: 8, seed, ..TrainSettings::default() };
    let mut trainer = Trainer::new(executor, tiny(data), data, settings).unwrap();
    assert_eq!(trainer.run_epoch(watch_all).unwrap().losses.len(), 100);
    hash(&trainer.weights().unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    const TEST: &str = "the_same_seed_gives_the_same_bits";
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 800, 8);
    let cpu = || Box::new(CpuExecutor::new());
    assert_eq!(hundred_steps(cpu(), &data, 1), hundred_steps(cpu(), &data, 1));
    assert_ne!(hundred_steps(cpu(), &data, 1), hundred_steps(cpu(), &data, 2));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let many_threads = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
    assert_eq!(
        one_thread.install(|| hundred_steps(cpu(), &data, 1)),
        many_threads.install(|| hundred_steps(cpu(), &data, 1)),
        "the number of threads changes no bit"
    );
    let reference = || Box::new(ReferenceExecutor::new());
    assert_eq!(hundred_steps(reference(), &data, 1), hundred_steps(reference(), &data, 1));
    let gpu = || common::gpu(TEST, ShaderChecks::Off).map(Box::new);
    let (Some(first), Some(second)) = (gpu(), gpu()) else { return };
    assert_eq!(hundred_steps(first, &data, 1), hundred_steps(second, &data, 1));
}

#[test]
fn a_cnn_learns_what_a_linear_classifier_cannot() {
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 10_000, 1_000);
    let settings = TrainSettings::default();
    let accuracy = |network: Network, epochs: usize| {
        let mut trainer =
            Trainer::new(Box::new(CpuExecutor::new()), network, &data, settings.clone()).unwrap();
        let reports: Vec<_> = (0..epochs).map(|_| trainer.run_epoch(watch_all).unwrap()).collect();
        reports.last().unwrap().evaluation.unwrap().accuracy()
    };
    let linear = accuracy(presets::linear(data.train.image, 10).unwrap(), 3);
    let cnn = accuracy(lenet(&data), 2);
    assert!(cnn > 0.95, "LeNet reaches {cnn}");
    assert!((0.5..0.92).contains(&linear), "a linear classifier reaches {linear}");
}

#[test]
fn the_gpu_keeps_learning() {
    const TEST: &str = "the_gpu_keeps_learning";
    let Some(gpu) = common::gpu(TEST, ShaderChecks::Off) else { return };
    let data = head(digits(TEST), 2_000, 300);
    let settings = TrainSettings { batch_size: 32, ..TrainSettings::default() };
    let mut trainer = Trainer::new(Box::new(gpu), lenet(&data), &data, settings).unwrap();
    let report = trainer.run_epoch(watch_all).unwrap();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (early, late) = (mean(&report.losses[..10]), mean(&report.losses[report.losses.len() - 10..]));
    assert!(late < 0.4 * early, "{early} at first, {late} at last");
    let accuracy = report.evaluation.unwrap().accuracy();
    assert!(accuracy > 0.75, "{accuracy}");
}

#[test]
fn evaluation_counts_every_image_once_whatever_the_batch() {
    let data = head(data::load("synthetic", &LoadOptions::seed(3)).unwrap(), 100, 30);
    let network = tiny(&data);
    let normalisation = Normalisation::measure(&data.train);
    let evaluate = |batch_size: usize| {
        let mut executor = CpuExecutor::new();
        let evaluator =
            Evaluator::new(&mut executor, &network, (HeldOut::Test, &data.test), &normalisation, batch_size)
                .unwrap();
        let (plan, prepared) = evaluator.prepared();
        let weights = network.initial_weights(5).unwrap();
        for variable in network.variables() {
            let values = HostBuffer::real(weights.values(variable).unwrap());
            executor.write(prepared, plan.expect(&variable.name), &values).unwrap();
        }
        evaluator.evaluate(&mut executor).unwrap()
    };
    let one_by_one = evaluate(1);
    assert_eq!(one_by_one.images, 30);
    for batch_size in [7, 16, 30] {
        let batched = evaluate(batch_size);
        assert_eq!((batched.correct, batched.images), (one_by_one.correct, 30));
        assert_abs_diff_eq!(batched.loss, one_by_one.loss, epsilon = 1e-5);
    }
}

/// An executor whose buffers are small, so that a dataset must be split.
struct SmallBuffers(CpuExecutor);

impl Executor for SmallBuffers {
    fn max_buffer_bytes(&self) -> u64 {
        100_000
    }
    fn device_name(&self) -> String {
        self.0.device_name()
    }
    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        assert!(plan.find("train/images.1").is_some() || plan.find("test/images.1").is_some());
        self.0.prepare(plan)
    }
    fn memory(&self, plan: &Plan) -> Memory {
        self.0.memory(plan)
    }
    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        self.0.write(prepared, buffer, data)
    }
    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
        self.0.run(prepared, times)
    }
    fn wait(&mut self) -> Result<()> {
        self.0.wait()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
        self.0.read_later(prepared, buffer)
    }
}

#[test]
fn a_dataset_in_parts_trains_to_the_same_bits() {
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 300, 200);
    let settings = TrainSettings { batch_size: 32, ..TrainSettings::default() };
    let run = |executor: Box<dyn Executor>| {
        let mut trainer = Trainer::new(executor, tiny(&data), &data, settings.clone()).unwrap();
        let report = trainer.run_epoch(watch_all).unwrap();
        (report.losses, report.evaluation.unwrap(), hash(&trainer.weights().unwrap()))
    };
    assert_eq!(run(Box::new(CpuExecutor::new())), run(Box::new(SmallBuffers(CpuExecutor::new()))));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_place() {
    const TEST: &str = "a_loss_that_is_not_finite_stops_the_run_and_names_the_place";
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 256, 32);
    let mut executors: Vec<Box<dyn Executor>> = vec![Box::new(CpuExecutor::new())];
    if let Some(gpu) = common::gpu(TEST, ShaderChecks::Off) {
        executors.push(Box::new(gpu));
    }
    for executor in executors {
        let name = executor.device_name();
        let mut trainer = Trainer::new(executor, tiny(&data), &data, TrainSettings::default()).unwrap();
        let mut planted = trainer.weights().unwrap();
        // In the bias of the dense layer, so that the values of the convolution before it stay finite.
        planted.get_mut("dense1.bias").unwrap().data_mut()[4] = f32::NAN;
        trainer.set_weights(&planted).unwrap();
        let error = trainer.run_epoch(watch_all).unwrap_err();
        let message = error.to_string();
        assert!(matches!(&error, Error::NotFinite { what, .. } if what == "step 0"), "{name}: {message}");
        assert!(message.contains("dense1.bias"), "{name}: {message}");
        assert_eq!(hash(&trainer.weights().unwrap()), hash(&planted), "{name}: a bad step changes no weight");

        // Finite weights that are so large that the convolution overflows.
        let mut planted = trainer.network().initial_weights(0).unwrap();
        planted.get_mut("conv1.weight").unwrap().data_mut().fill(3e38);
        trainer.set_weights(&planted).unwrap();
        let message = trainer.run_epoch(watch_all).unwrap_err().to_string();
        assert!(message.contains("conv1.output"), "{name}: {message}");
    }
}

#[test]
fn a_break_ends_an_epoch_early_and_the_trainer_stays_usable() {
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 3_200, 32);
    let mut trainer =
        Trainer::new(Box::new(CpuExecutor::new()), lenet(&data), &data, TrainSettings::default()).unwrap();
    let report = trainer.run_epoch(|_| ControlFlow::Break(())).unwrap();
    assert!(report.losses.len() < 50 && report.evaluation.is_none());
    assert_eq!(trainer.run_epoch(watch_all).unwrap().losses.len(), 50);
}

#[test]
fn settings_out_of_range_are_refused() {
    let data = head(data::load("synthetic", &LoadOptions::default()).unwrap(), 20, 20);
    let default = TrainSettings { batch_size: 4, ..TrainSettings::default() };
    for settings in [
        TrainSettings { batch_size: 0, ..default.clone() },
        TrainSettings { batch_size: 21, ..default.clone() },
        TrainSettings { learning_rate: f64::NAN, ..default.clone() },
        TrainSettings { learning_rate: -1.0, ..default.clone() },
        TrainSettings { learning_rate: 1e-60, ..default.clone() },
        TrainSettings { epochs: 0, ..default.clone() },
        TrainSettings { clip_norm: Some(0.0), ..default.clone() },
        TrainSettings { schedule: "cosine".parse::<Schedule>().unwrap().with_warmup(1.0), ..default.clone() },
        TrainSettings { groups: Groups::with_weight_decay(-0.1), ..default.clone() },
        TrainSettings {
            optimizer: Optimizer::Sgd(Sgd { momentum: 1.0, nesterov: false }),
            ..default.clone()
        },
        TrainSettings { freeze: vec!["*".into()], ..default },
    ] {
        let result = Trainer::new(Box::new(CpuExecutor::new()), tiny(&data), &data, settings.clone());
        let error = result.err().unwrap_or_else(|| panic!("{settings:?} must be refused"));
        assert!(error.is_wrong_use() && !error.to_string().contains('\n'), "{error}");
    }
}
