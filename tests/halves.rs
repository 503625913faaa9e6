//! Tensors stored as halves: every kernel reads and writes them, and networks learn with them.

mod common;

use std::collections::HashSet;
use std::ops::ControlFlow;

use wgconv::data::{self, DataSplits, LoadOptions};
use wgconv::device::DeviceKind;
use wgconv::gpu::ShaderChecks;
use wgconv::host::CpuExecutor;
use wgconv::layers::Conv2d;
use wgconv::network::{Network, presets};
use wgconv::ops::HostBuffer;
use wgconv::ops::activation::Activation;
use wgconv::ops::halves::InHalves;
use wgconv::ops::window::Padding;
use wgconv::plan::{Executor, Workbench};
use wgconv::train::{Precision, TrainSettings, Trainer};
use wgconv::verify::{Data, Trial, cases};

/// Runs every case with halves on `executor`, in the implementations that `wanted` selects.
fn run_all(executor: &mut dyn Workbench, mut wanted: impl FnMut(&Trial, &'static str) -> bool) {
    let mut failures = Vec::new();
    let mut trials = 0;
    for case in cases::all() {
        let name = format!("{} ({})", case.op.name(), case.name);
        let Some(trial) = Trial::new(InHalves::wrap_all(case.op), Data::Reals, 7) else { continue };
        let op = trial.plan().forward[0].op.as_ref();
        for implementation in executor.implementations(op) {
            if !wanted(&trial, implementation) {
                continue;
            }
            trials += 1;
            match trial.run_as(executor, implementation) {
                Ok(Ok(_)) => {}
                Ok(Err(mismatch)) => failures.push(format!("{name}, {implementation}: {mismatch}")),
                Err(error) => failures.push(format!("{name}, {implementation}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {trials} trials failed:\n{}", failures.len(), failures.join("\n"));
    println!("{trials} trials with halves passed on {}", executor.device_name());
}

#[test]
fn the_cpu_rounds_to_halves() {
    run_all(&mut CpuExecutor::new(), |_, _| true);
}

/// Each file in one of the programs that operations compose for this device.
#[test]
fn kernels_read_and_write_halves() {
    let Some(mut gpu) = common::gpu("kernels_read_and_write_halves", ShaderChecks::Off) else { return };
    assert!(gpu.stores_halves() || gpu.profile().kind != DeviceKind::Software, "Mesa supports f16");
    if !gpu.stores_halves() {
        eprintln!("SKIPPED kernels_read_and_write_halves: {} has no f16", gpu.device_name());
        return;
    }
    let profile = gpu.profile().clone();
    let mut seen: HashSet<&'static str> = HashSet::new();
    run_all(&mut gpu, |trial, name| {
        let op = trial.plan().forward[0].op.as_ref();
        let offered = op.implementations(&profile).into_iter().find(|offered| offered.name == name);
        let calls = offered.expect("an implementation of this name").calls.into_iter();
        let with_halves = calls.filter(|call| !call.source.halves.is_empty());
        with_halves.flat_map(|call| call.source.files).filter(|file| seen.insert(file)).count() > 0
    });
}

fn digits() -> DataSplits {
    data::load("synthetic", &LoadOptions::default()).unwrap().head(96)
}

/// A network whose gradients are continuous, with a norm whose statistics stay in f32.
fn smooth(data: &DataSplits) -> Network {
    Network::builder("smooth", data.train.image)
        .conv2d(Conv2d::new(8, [5, 5]).padding(Padding::Same))
        .batch_norm()
        .activation(Activation::Tanh)
        .average_pool(2)
        .conv2d(Conv2d::new(16, [3, 3]).padding(Padding::Same))
        .activation(Activation::Tanh)
        .average_pool(2)
        .flatten()
        .dense(10)
        .build()
        .unwrap()
}

fn settings(precision: Precision) -> TrainSettings {
    TrainSettings { batch_size: 8, precision, ..TrainSettings::default() }
}

fn trainer(executor: impl Executor + 'static, precision: Precision) -> Trainer {
    let data = digits();
    Trainer::new(Box::new(executor), smooth(&data), &data, settings(precision)).unwrap()
}

fn epoch(trainer: &mut Trainer) -> Vec<f32> {
    trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap().losses
}

fn assert_close(what: &str, expected: &[f32], found: &[f32], most: f32) {
    let differences = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs() / expected);
    let largest = differences.fold(0.0, f32::max);
    assert!(expected.len() == found.len() && largest <= most, "{what}: {expected:?}, {found:?}");
    println!("{what}: losses differ by at most {largest:.1e}");
}

/// A GPU that stores halves takes the steps of the CPU that rounds as if it did, and both take about those in f32.
#[test]
fn all_executors_take_the_same_steps_in_mixed_precision() {
    let whole = epoch(&mut trainer(CpuExecutor::new(), Precision::F32));
    let without = &mut trainer(CpuExecutor::new(), Precision::Mixed);
    assert_eq!(
        (without.precision(), epoch(without)),
        (Precision::F32, whole.clone()),
        "no halves, no difference"
    );
    let rounded = &mut trainer(CpuExecutor::new().with_halves(), Precision::Mixed);
    assert_eq!(rounded.precision(), Precision::Mixed);
    let rounded = epoch(rounded);
    assert_ne!(rounded, whole, "halves are rounded");
    assert_close("mixed precision and f32 on the CPU", &whole, &rounded, 2e-3);
    for checks in [ShaderChecks::Off, ShaderChecks::On] {
        let Some(gpu) = common::gpu("all_executors_take_the_same_steps", checks) else { return };
        if gpu.stores_halves() {
            let found = epoch(&mut trainer(gpu, Precision::Mixed));
            assert_close("mixed precision on the CPU and on the GPU", &rounded, &found, 1e-3);
        }
    }
}

/// The executors that store halves, or do as if.
fn executors(test: &str) -> Vec<Box<dyn Fn() -> Box<dyn Executor>>> {
    let mut executors: Vec<Box<dyn Fn() -> Box<dyn Executor>>> =
        vec![Box::new(|| Box::new(CpuExecutor::new().with_halves()))];
    if common::gpu(test, ShaderChecks::Off).is_some_and(|gpu| gpu.stores_halves()) {
        let gpu =
            || Box::new(common::gpu("a GPU", ShaderChecks::Off).expect("the same GPU")) as Box<dyn Executor>;
        executors.push(Box::new(gpu));
    }
    executors
}

/// A scale that is too large leaves steps out until it is small enough; such a step changes no weight and no statistic,
/// and has a loss.
#[test]
fn steps_whose_gradients_overflow_are_left_out() {
    const FIRST: f32 = (1u64 << 40) as f32;
    for executor in executors("steps_whose_gradients_overflow_are_left_out") {
        let data = digits();
        let (network, settings) = (smooth(&data), settings(Precision::Mixed));
        let mut trainer = Trainer::new(executor(), network, &data, settings).unwrap();
        let before = trainer.weights().unwrap();
        let scale = trainer.plan().0.expect("loss_scale");
        let prepared = trainer.plan().1;
        let first = HostBuffer::real(vec![FIRST, 5.0, -1.0]);
        trainer.executor().write(prepared, scale, &first).unwrap();
        let mut stopped_after = 0;
        let report = trainer.run_epoch(|progress| {
            stopped_after = progress.done;
            ControlFlow::Break(())
        });
        let losses = report.unwrap().losses;
        assert!(losses.len() == stopped_after && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
        // The first steps are under way together.
        let now = trainer.executor().read(prepared, scale).unwrap();
        let halved = FIRST / (1u64 << losses.len()) as f32;
        assert!(losses.len() < 12, "a part of the epoch");
        assert_eq!(now.reals(), [halved, 0.0, -1.0], "halved in each step");
        assert!(trainer.weights().unwrap() == before, "nothing has changed");

        for _ in 0..3 {
            epoch(&mut trainer);
        }
        let now = trainer.executor().read(prepared, scale).unwrap();
        let [scale, steps, kept] = now.reals() else { panic!("three values") };
        assert!(
            *scale < halved && *scale >= 1024.0 && *steps > 0.0 && *kept == -1.0,
            "{scale}, {steps}, {kept}"
        );
        assert!(trainer.weights().unwrap() != before, "then it learns");
    }
}

/// The scale is a part of the state, and the steps that follow are the same bits.
#[test]
fn a_training_in_mixed_precision_resumes_exactly() {
    for executor in executors("a_training_in_mixed_precision_resumes_exactly") {
        let data = digits();
        let start = || Trainer::new(executor(), smooth(&data), &data, settings(Precision::Mixed)).unwrap();
        let mut whole = start();
        epoch(&mut whole);
        let state = whole.state().unwrap();
        assert_eq!(state.variables["loss_scale"], [65536.0, 12.0, -1.0]);
        let expected = epoch(&mut whole);
        let mut resumed = start();
        resumed.restore(&state).unwrap();
        assert_eq!(epoch(&mut resumed), expected);
        assert!(resumed.weights().unwrap() == whole.weights().unwrap());
    }
}

/// Outputs of layers take half the memory; parameters and what the optimizer keeps take what they took.
#[test]
fn mixed_precision_halves_the_memory_of_activations() {
    let data = digits();
    // Without pools, of which a GPU keeps winners, which are no reals.
    let network = presets::resnet20(data.train.image, data.train.classes.len()).unwrap();
    let Some(gpu) = common::gpu("mixed_precision_halves_the_memory", ShaderChecks::Off) else { return };
    if !gpu.stores_halves() {
        return;
    }
    let [whole, mixed] = [Precision::F32, Precision::Mixed]
        .map(|precision| Trainer::memory(&gpu, &network, &data, &settings(precision)).unwrap());
    assert_eq!(mixed.parameters, whole.parameters);
    // Those of the evaluation stay reals.
    let share = mixed.activations as f64 / whole.activations as f64;
    assert!((0.5..0.8).contains(&share), "{} of {} bytes", mixed.activations, whole.activations);
}
