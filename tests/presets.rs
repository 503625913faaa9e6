//! Every preset trains the same on every executor, with all that recipes use: statistics, dropout, augmentation, averages.

mod common;

use std::ops::ControlFlow;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use wgconv::data::{DataSplits, Dataset};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::{Affine, BatchNorm, Conv2d};
use wgconv::network::{Initialiser, Network, PRESETS, Weights};
use wgconv::ops::activation::Activation;
use wgconv::plan::Executor;
use wgconv::tensor::ImageShape;
use wgconv::train::{Lookahead, TrainSettings, Trainer};

const CLASSES: usize = 10;
const STEPS: usize = 5;

/// Images of coarse patches with a colour for each class, so that there is something to learn.
fn images(image: ImageShape, rows: usize) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let labels: Vec<u32> = (0..rows as u32).map(|row| row % CLASSES as u32).collect();
    let mut bytes = Vec::with_capacity(rows * image.elements());
    for label in &labels {
        let patches: Vec<u8> = (0..64).map(|_| rng.random_range(0..160)).collect();
        for (row, column) in
            (0..image.height).flat_map(|row| (0..image.width).map(move |column| (row, column)))
        {
            let patch = patches[row * 8 / image.height * 8 + column * 8 / image.width];
            let tint = |channel: usize| (*label as usize * (channel + 3) * 7 % 64) as u8;
            bytes.extend((0..image.channels).map(|channel| patch + tint(channel) + rng.random_range(0..32)));
        }
    }
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset::new(image, classes, bytes, labels).unwrap()
}

fn data(image: ImageShape, rows: usize) -> DataSplits {
    DataSplits::new("patches", images(image, rows), images(image, CLASSES)).unwrap()
}

/// Small steps, since two runs that differ by rounding drift apart the faster the larger their steps are.
fn settings(batch_size: usize) -> TrainSettings {
    TrainSettings {
        batch_size,
        learning_rate: 1e-4,
        label_smoothing: 0.1,
        augment: "crop=2,padding=reflect,flip=alternating,brightness=0.1".parse().unwrap(),
        lookahead: Some(Lookahead { every: 2, ..Lookahead::default() }),
        ..TrainSettings::default()
    }
}

/// The losses of an epoch, and the weights after it.
fn train(
    executor: Box<dyn Executor>,
    network: &Network,
    data: &DataSplits,
    settings: &TrainSettings,
) -> (Vec<f32>, Weights) {
    let mut trainer = Trainer::new(executor, network.clone(), data, settings.clone()).unwrap();
    let report = trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
    (report.losses, trainer.weights().unwrap())
}

fn largest_difference(expected: &[f32], found: &[f32]) -> f32 {
    assert_eq!(expected.len(), found.len());
    let differences = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs() / expected);
    differences.fold(0.0, f32::max)
}

#[test]
fn the_first_losses_of_every_preset_are_those_of_the_reference() {
    const TEST: &str = "the_first_losses_of_every_preset_are_those_of_the_reference";
    for preset in PRESETS {
        let network = (preset.build)(preset.image, CLASSES).unwrap();
        // The definitions take their time.
        let batch_size = if preset.image.channels == 3 { 2 } else { 4 };
        let data = data(preset.image, STEPS * batch_size);
        let losses = |executor, settings: &TrainSettings| train(executor, &network, &data, settings).0;
        let settings = settings(batch_size);
        let expected = losses(Box::new(ReferenceExecutor::new()), &settings);
        let assert_close = |device: &str, found: &[f32]| {
            let difference = largest_difference(&expected, found);
            println!("{}, {device}: losses differ by at most {difference:.1e}", preset.name);
            assert!(difference <= 1e-5, "{}, {device}: {expected:?}, {found:?}", preset.name);
        };
        assert_close("CPU", &losses(Box::new(CpuExecutor::new()), &settings));
        if let Some(gpu) = common::gpu(TEST, ShaderChecks::Off) {
            assert_close("GPU", &losses(Box::new(gpu), &settings));
        }
        // A negative control: other chance must not pass.
        let other = TrainSettings { seed: 1, ..settings };
        let other = losses(Box::new(CpuExecutor::new()), &other);
        assert!(
            largest_difference(&expected, &other) > 1e-3,
            "{}: another seed takes other steps",
            preset.name
        );
    }
}

/// All that a step can hold, small.
fn everything(image: ImageShape) -> Network {
    Network::builder("everything", image)
        .whitening([2, 2])
        .activation(Activation::Gelu)
        .conv2d(Conv2d::new(8, [3, 3]).same().without_bias().initialiser(Initialiser::Dirac))
        .max_pool(2)
        .layer(BatchNorm::new().momentum(0.4).affine(Affine::Shift))
        .activation(Activation::Gelu)
        .residual(|path| path.conv2d(Conv2d::new(8, [3, 3]).same()).batch_norm().relu().dropout(0.25))
        .relu()
        .global_average_pool()
        .dropout(0.25)
        .dense(CLASSES)
        .build()
        .unwrap()
}

/// A hundred steps of everything, with either kind of averages.
fn assert_same_bits(new: impl Fn() -> Box<dyn Executor>) {
    let image = ImageShape { height: 8, width: 8, channels: 3 };
    let (network, data) = (everything(image), data(image, 400));
    for ema in [None, Some(0.9)] {
        let lookahead = settings(4).lookahead.filter(|_| ema.is_none());
        let settings = TrainSettings { ema, lookahead, learning_rate: 0.02, ..settings(4) };
        let (losses, weights) = train(new(), &network, &data, &settings);
        assert_eq!(losses.len(), 100);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        assert!(mean(&losses[90..]) < mean(&losses[..10]), "it learns: {losses:?}");
        assert_eq!(train(new(), &network, &data, &settings), (losses.clone(), weights));
        let other = train(new(), &network, &data, &TrainSettings { seed: 1, ..settings }).0;
        assert_ne!(other, losses, "another seed takes other steps");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_the_cpu() {
    assert_same_bits(|| Box::new(CpuExecutor::new()));
}

#[test]
fn the_same_seed_gives_the_same_bits_on_the_reference() {
    assert_same_bits(|| Box::new(ReferenceExecutor::new()));
}

#[test]
fn the_same_seed_gives_the_same_bits_on_a_gpu() {
    const TEST: &str = "the_same_seed_gives_the_same_bits_on_a_gpu";
    if common::gpu(TEST, ShaderChecks::Off).is_some() {
        assert_same_bits(|| Box::new(common::gpu(TEST, ShaderChecks::Off).unwrap()));
    }
}

/// Stopping in the middle of an epoch, between two returns to slow weights, and going on from the saved state.
#[test]
fn a_run_of_everything_resumes_to_the_same_bits() {
    let image = ImageShape { height: 8, width: 8, channels: 3 };
    let (network, data) = (everything(image), data(image, 60));
    for ema in [None, Some(0.9)] {
        let lookahead = Lookahead { every: 7, kept: 0.5, power: 2.0 };
        let lookahead = Some(lookahead).filter(|_| ema.is_none());
        let freeze_after = Some("1:whitening1.bias".parse().unwrap());
        let settings = TrainSettings { ema, lookahead, freeze_after, epochs: 3, ..settings(4) };
        let start =
            || Trainer::new(Box::new(CpuExecutor::new()), network.clone(), &data, settings.clone()).unwrap();
        let finish = |trainer: &mut Trainer| {
            let mut losses = Vec::new();
            while trainer.epochs_done() < 3 {
                losses.extend(trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap().losses);
            }
            (losses, trainer.state().unwrap())
        };
        let mut whole = start();
        let expected = finish(&mut whole);
        let mut stopped = start();
        let report = stopped.run_epoch(|_| ControlFlow::Break(())).unwrap();
        assert!(report.evaluation.is_none(), "stopped too late");
        let mut resumed = start();
        resumed.restore(&stopped.state().unwrap()).unwrap();
        assert_eq!(finish(&mut resumed), expected);
    }
}
