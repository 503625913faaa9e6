//! Augmented images: each executor shows the same, exactly where pixels are whole; training and resuming with them.

mod common;
#[path = "common/workplace.rs"]
mod workplace;

use std::fs;
use std::ops::ControlFlow;

use wgconv::data::{self, DataSplits, Dataset, HeldOut, LoadOptions};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::network::presets;
use wgconv::ops::batch::{AugmentBatch, Move, Padding, Rectangle};
use wgconv::ops::{HostBuffer, Op, Operands};
use wgconv::plan::Executor;
use wgconv::tensor::ImageShape;
use wgconv::train::{Evaluation, Evaluator, TestAugmentation};
use wgconv::{TrainSettings, Trainer};
use workplace::Workplace;

/// What the moves make of two images of one channel, by the definition and by the CPU form, which must agree exactly.
fn shown(image: [usize; 2], padding: Padding, batch: [&[f32]; 2], moves: [Move; 2]) -> [Vec<f32>; 2] {
    let image = ImageShape { height: image[0], width: image[1], channels: 1 };
    let op = AugmentBatch { batch_size: 2, image, steps: 1, classes: 10, padding, mixes: true };
    let buffers = || {
        vec![
            HostBuffer::real(batch.concat()),
            // Black is -3.
            HostBuffer::real(vec![1.0, -3.0]),
            HostBuffer::real(moves.map(Move::to_row).concat()),
            HostBuffer::index(vec![0]),
            HostBuffer::real(vec![f32::NAN; 2 * image.elements()]),
            HostBuffer::index(vec![4, 7]),
            HostBuffer::index(vec![9; 2]),
            HostBuffer::real(vec![f32::NAN; 2]),
        ]
    };
    let mut on_cpu = Operands::new(buffers());
    op.cpu_forms()[0].run(&mut on_cpu);
    let defined = buffers().iter().map(|buffer| buffer.map_reals(|&value| f64::from(value))).collect();
    let mut defined = Operands::new(defined);
    op.define(&mut defined);
    let (on_cpu, defined) = (on_cpu.into_buffers(), defined.into_buffers());
    let rounded: Vec<f32> = defined[4].reals().iter().map(|&value| value as f32).collect();
    assert_eq!(on_cpu[4].reals(), rounded);
    assert_eq!(on_cpu[6].indices(), defined[6].indices());
    let partners = moves.map(|m| [4, 7][m.partner as usize]);
    assert_eq!(on_cpu[6].indices(), partners);
    assert_eq!(on_cpu[7].reals(), moves.map(|m| m.label_share));
    let (first, second) = on_cpu[4].reals().split_at(image.elements());
    [first.to_vec(), second.to_vec()]
}

#[test]
fn moves_show_what_they_say() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    let show = |padding, m: Move| shown([2, 3], padding, [&a, &b], [m, Move::NONE]);
    let [first, second] = show(Padding::Zero, Move::NONE);
    assert_eq!((first, second), (a.to_vec(), b.to_vec()));
    // One to the left and one up, on black and mirrored; as `torch.nn.functional.pad(.., mode="reflect")`.
    let moved = Move { row: [1.0, 0.0, 1.0], column: [0.0, 1.0, 1.0], ..Move::NONE };
    assert_eq!(show(Padding::Zero, moved)[0], [5.0, 6.0, -3.0, -3.0, -3.0, -3.0]);
    assert_eq!(show(Padding::Reflect, moved)[0], [5.0, 6.0, 5.0, 2.0, 3.0, 2.0]);
    // Mirrored left to right.
    let mirrored = Move { column: [0.0, -1.0, 2.0], ..Move::NONE };
    assert_eq!(show(Padding::Zero, mirrored)[0], [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    // Half a pixel to the left and a quarter up.
    let between = Move { row: [1.0, 0.0, 0.25], column: [0.0, 1.0, 0.5], ..Move::NONE };
    let upper = |x: f32, y: f32| 0.75 * x + 0.25 * y;
    let expected = [
        upper(1.5, 4.5),
        upper(2.5, 5.5),
        upper(0.0, 1.5),
        upper(4.5, -3.0),
        upper(5.5, -3.0),
        upper(1.5, -3.0),
    ];
    assert_eq!(show(Padding::Zero, between)[0], expected);
    let toned = Move { gain: 0.5, offset: 4.0, ..Move::NONE };
    assert_eq!(show(Padding::Zero, toned)[0], [4.5, 5.0, 5.5, 6.0, 6.5, 7.0]);
    let cut = Rectangle { top: 0.0, left: 1.0, bottom: 1.0, right: 3.0 };
    assert_eq!(show(Padding::Zero, Move { cut, ..toned })[0], [4.5, 0.0, 0.0, 6.0, 6.5, 7.0]);

    // Mixed with what the partner shows, before it is mixed itself.
    let mixup = Move { partner: 1.0, outside: 0.25, label_share: 0.25, ..Move::NONE };
    let [first, second] =
        shown([2, 3], Padding::Zero, [&a, &b], [mixup, Move { partner: 0.0, outside: 0.5, ..mirrored }]);
    assert_eq!(first, [8.25, 6.5, 4.75, 18.0, 16.25, 14.5]);
    assert_eq!(second, [15.5, 11.0, 6.5, 32.0, 27.5, 23.0]);
    let patch = Rectangle { top: 1.0, left: 0.0, bottom: 2.0, right: 2.0 };
    let cutmix = Move { partner: 1.0, patch, inside: 1.0, label_share: 1.0 / 3.0, ..Move::NONE };
    let [first, _] = shown([2, 3], Padding::Zero, [&a, &b], [cutmix, Move::NONE]);
    assert_eq!(first, [1.0, 2.0, 3.0, 40.0, 50.0, 6.0]);
}

fn digits() -> DataSplits {
    data::load("synthetic", &LoadOptions::default()).unwrap().head(256)
}

const EVERYTHING: &str = "crop=2,padding=reflect,flip=alternating,vertical_flip,rotate=15,scale=0.2,brightness=0.1,contrast=0.2,cutout=7,mixup=0.4,cutmix=1";

fn losses(executor: Box<dyn Executor>, augment: &str) -> Vec<f32> {
    let data = digits();
    let network = presets::linear(data.train.image, 10).unwrap();
    let settings = TrainSettings {
        batch_size: 32,
        augment: augment.parse().unwrap(),
        label_smoothing: 0.1,
        learning_rate: 0.01,
        ..TrainSettings::default()
    };
    let mut trainer = Trainer::new(executor, network, &data, settings).unwrap();
    (0..2).flat_map(|_| trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap().losses).collect()
}

#[test]
fn every_executor_trains_on_the_same_images() {
    let expected = losses(Box::new(ReferenceExecutor::new()), EVERYTHING);
    let mut found = vec![losses(Box::new(CpuExecutor::new()), EVERYTHING)];
    if let Some(gpu) = common::gpu("every_executor_trains_on_the_same_images", ShaderChecks::On) {
        found.push(losses(Box::new(gpu), EVERYTHING));
    }
    for found in found {
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-5 * expected, "step {step}: {found}, {expected}");
        }
    }
    // It matters, and it differs from epoch to epoch.
    let plain = losses(Box::new(CpuExecutor::new()), "none");
    assert!(plain.iter().zip(&expected).all(|(plain, augmented)| plain != augmented));
}

#[test]
fn an_augmented_run_is_resumed_exactly() {
    let place = Workplace::new();
    let train = format!("--model linear --limit 320 --batch-size 32 --augment {EVERYTHING}");
    place.train(&format!("{train} --epochs 4 --out whole"));
    place.train(&format!("{train} --epochs 2 --out parts"));
    place.train("--resume parts --epochs 4");
    let [a, b] =
        ["whole", "parts"].map(|run| fs::read(place.path(&format!("{run}/last.safetensors"))).unwrap());
    assert!(a == b, "other weights");
    let config = place.read("whole/config.toml");
    assert!(config.contains("[training.augment]") && config.contains("flip = \"alternating\""), "{config}");
    let culprit = "; augment.crop 2, now not set; ";
    place.assert_refused("train --device cpu --resume parts --epochs 5 --augment none", 2, culprit);
}

#[test]
fn wrong_augmentations_are_refused() {
    let place = Workplace::new();
    let run = place.run("train --device cpu --augment crop=4,turn=3");
    assert!(run.code == 2 && run.stderr.contains("unknown field `turn`"), "{run:?}");
    let culprit = "loss: expected class weights or mixed images (mixup, cutmix), found both";
    place.assert_refused("train --device cpu --augment mixup=0.2 --class-weights balanced", 2, culprit);
}

/// The images moved by `shift` pixels along both axes, mirrored at the border, and mirrored left to right if asked.
fn seen(data: &Dataset, shift: i64, mirrored: bool) -> Dataset {
    let ImageShape { height, width, channels } = data.image;
    let reflect = |place: i64, size: usize| {
        let last = size as i64 - 1;
        if place < 0 { -place } else { last - (last - place).abs() }
    };
    let mut images = Vec::new();
    for row in 0..data.len() {
        for y in 0..height as i64 {
            for x in 0..width as i64 {
                let x = if mirrored { width as i64 - 1 - x } else { x };
                let (y, x) = (reflect(y + shift, height), reflect(x + shift, width));
                let first = (y as usize * width + x as usize) * channels;
                images.extend_from_slice(&data.image(row)[first..first + channels]);
            }
        }
    }
    Dataset::new(data.image, data.classes.clone(), images, data.labels.clone()).unwrap()
}

#[test]
fn test_time_augmentation_averages_what_it_says() {
    let data = digits();
    let test = data.test.clone().head(50);
    let network = presets::lenet(test.image, 10).unwrap();
    let weights = network.initial_weights(3).unwrap();
    let normalisation = &data.preprocessing.normalisation;
    let logits = |set: &Dataset| {
        let mut executor = CpuExecutor::new();
        let set = (HeldOut::Test, set);
        let evaluator = Evaluator::new(&mut executor, &network, set, normalisation, 16).unwrap();
        evaluator.set_weights(&mut executor, &network, &weights).unwrap();
        evaluator.classify(&mut executor).unwrap()
    };
    let (plain, alone) = logits(&test);
    let figures = Evaluation::of_logits(&alone, &test.labels, 10);
    assert_eq!((figures.correct, figures.images), (plain.correct, 50));
    assert!((figures.loss - plain.loss).abs() < 1e-6 * plain.loss);
    let average = |sets: &[Dataset]| {
        let all: Vec<Vec<f64>> = sets.iter().map(|set| logits(set).1).collect();
        (0..alone.len())
            .map(|i| all.iter().map(|logits| logits[i]).sum::<f64>() / sets.len() as f64)
            .collect()
    };
    let mirror: Vec<f64> = average(&[test.clone(), seen(&test, 0, true)]);
    let shifts: Vec<f64> = average(&[
        seen(&test, 1, false),
        seen(&test, 1, true),
        seen(&test, -1, false),
        seen(&test, -1, true),
    ]);
    let shift: Vec<f64> =
        mirror.iter().zip(shifts).map(|(mirror, shift)| 0.5 * mirror + 0.5 * shift).collect();
    for (way, expected) in [(TestAugmentation::Mirror, mirror), (TestAugmentation::Shift, shift)] {
        let mut executor = CpuExecutor::new();
        let set = (HeldOut::Test, &test);
        let evaluator = Evaluator::augmented(&mut executor, &network, set, normalisation, 16, way).unwrap();
        evaluator.set_weights(&mut executor, &network, &weights).unwrap();
        let found = evaluator.classify_augmented(&mut executor, way).unwrap();
        let largest = expected.iter().fold(0.0f64, |largest, logit| largest.max(logit.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12 * largest, "{way:?}: {found}, {expected}");
        }
        assert_ne!(found, alone);
    }
}

#[test]
fn evaluations_can_be_augmented() {
    let place = Workplace::new();
    place.train("--model linear --limit 300 --epochs 2 --out run");
    let measured = |options: &str| {
        let run = place.run(&format!("evaluate run --device cpu --json {options}"));
        assert_eq!(run.code, 0, "{run:?}");
        run.json().remove(0)
    };
    let [plain, shifted] = ["", "--tta shift"].map(measured);
    assert_eq!(shifted["images"], plain["images"]);
    assert_ne!(shifted["test/loss"], plain["test/loss"]);
    let run = place.run("evaluate run --tta turn");
    assert!(run.code == 2 && run.stderr.contains("expected mirror, shift, found \"turn\""), "{run:?}");
}
