//! Dropout in whole networks: every executor drops the same values in every step of every epoch, in the same places forward
//! and backward, and an evaluation drops none.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use wgconv::data::{self, DataSplits, LoadOptions};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::network::Network;
use wgconv::ops::HostBuffer;
use wgconv::ops::optimizer::UpdateOptions;
use wgconv::plan::{DataParts, Executor, LossOptions, Prologues, TrainOptions, train_plan};
use wgconv::tensor::ImageShape;
use wgconv::train::{TrainSettings, Trainer};

const IMAGE: ImageShape = ImageShape { height: 5, width: 7, channels: 3 };
const BATCH_SIZE: usize = 6;
const STEPS: usize = 3;

/// Which values two layers keep of positive ones, in each step of some epochs.
fn masks(mut executor: Box<dyn Executor>) -> Vec<Vec<bool>> {
    let network =
        Network::builder("test", IMAGE).dropout(0.5).dropout(0.25).flatten().dense(4).build().unwrap();
    let data = DataParts { name: "train", image: IMAGE, classes: 4, rows: vec![BATCH_SIZE] };
    let (loss, update) = (LossOptions::default(), UpdateOptions::default());
    let options = TrainOptions { batch_size: BATCH_SIZE, steps: STEPS, data, loss, update, augment: None };
    let mut plan = train_plan(&network, &options).unwrap();
    let outputs = ["dropout1.output", "dropout2.output"].map(|name| plan.expect(name));
    outputs.iter().for_each(|&output| plan.keep(output));
    let plan = Arc::new(plan.fused(Prologues::WhereTheyPay));
    let prepared = executor.prepare(plan.clone()).unwrap();
    let write = |executor: &mut dyn Executor, name: &str, content| {
        executor.write(prepared, plan.expect(name), &content).unwrap();
    };
    let device = executor.as_mut();
    let bytes = (0..BATCH_SIZE * IMAGE.elements()).map(|i| 1 + (i % 255) as u8).collect();
    write(device, "train/images.0", HostBuffer::byte(bytes));
    write(device, "train/labels.0", HostBuffer::index(vec![0; BATCH_SIZE]));
    write(device, "train/order", HostBuffer::index((0..BATCH_SIZE as u32).collect::<Vec<_>>().repeat(STEPS)));
    write(device, "train/schedule", HostBuffer::real(vec![0.0; 8 * STEPS]));
    // Images as they are.
    write(device, "normalisation", HostBuffer::real([[1.0; 3], [0.0; 3]].concat()));
    let mut masks = Vec::new();
    for epoch in [0, 1, 70_000] {
        write(device, "chance", HostBuffer::index(vec![0xdead_beef, 7, epoch]));
        write(device, "train/step", HostBuffer::index(vec![0]));
        for _ in 0..STEPS {
            device.run(prepared, 1).unwrap();
            for output in outputs {
                let values = device.read(prepared, output).unwrap();
                masks.push(values.reals().iter().map(|&value| value != 0.0).collect());
            }
        }
    }
    masks
}

#[test]
fn every_executor_drops_the_same_values() {
    const TEST: &str = "every_executor_drops_the_same_values";
    let expected = masks(Box::new(ReferenceExecutor::new()));
    assert_eq!(expected, masks(Box::new(CpuExecutor::new())), "CPU");
    for checks in [ShaderChecks::Off, ShaderChecks::On] {
        let Some(gpu) = common::gpu(TEST, checks) else { continue };
        assert_eq!(expected, masks(Box::new(gpu)), "GPU");
    }
    // Of those that the first layer keeps, the second drops others.
    for (number, mask) in expected.iter().enumerate() {
        let kept = mask.iter().filter(|&&kept| kept).count() as f64 / mask.len() as f64;
        let rate = if number % 2 == 0 { 0.5 } else { 0.375 };
        assert!((kept - rate).abs() < 0.1, "{kept} kept, expected {rate}");
        assert_eq!(expected.iter().filter(|other| *other == mask).count(), 1, "the same mask twice");
    }
}

fn digits() -> DataSplits {
    data::load("synthetic", &LoadOptions::default()).unwrap().head(96)
}

fn network(data: &DataSplits, probability: Option<f32>) -> Network {
    let dropout = |builder: wgconv::NetworkBuilder| match probability {
        Some(probability) => builder.dropout(probability),
        None => builder,
    };
    let start = Network::builder("small", data.train.image).flatten().dense(20);
    dropout(dropout(start).relu()).dense(10).build().unwrap()
}

fn trained(executor: impl Executor + 'static, probability: Option<f32>) -> (Vec<f32>, Trainer) {
    let data = digits();
    let settings = TrainSettings { batch_size: 8, seed: 5, ..TrainSettings::default() };
    let network = network(&data, probability);
    let mut trainer = Trainer::new(Box::new(executor), network, &data, settings).unwrap();
    let epochs = (0..2).flat_map(|_| trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap().losses);
    let losses = epochs.collect();
    (losses, trainer)
}

#[test]
fn the_losses_of_every_executor_agree() {
    const TEST: &str = "the_losses_of_every_executor_agree";
    let (expected, _) = trained(ReferenceExecutor::new(), Some(0.4));
    let close = |found: &[f32]| {
        found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() <= 1e-5 * expected.abs())
    };
    assert!(close(&trained(CpuExecutor::new(), Some(0.4)).0), "CPU");
    if let Some(gpu) = common::gpu(TEST, ShaderChecks::Off) {
        assert!(close(&trained(gpu, Some(0.4)).0), "GPU");
    }
    // Negative controls: less dropout, or none, takes another way.
    assert!(!close(&trained(CpuExecutor::new(), Some(0.39)).0));
    assert!(!close(&trained(CpuExecutor::new(), None).0));
    // None by probability is none at all.
    let [zero, none] = [Some(0.0), None].map(|probability| trained(CpuExecutor::new(), probability).0);
    assert_eq!(zero, none);
}

#[test]
fn an_evaluation_drops_nothing() {
    let (_, mut dropping) = trained(CpuExecutor::new(), Some(0.4));
    let (_, mut plain) = trained(CpuExecutor::new(), None);
    let weights = dropping.weights().unwrap();
    assert_ne!(weights, plain.weights().unwrap());
    plain.set_weights(&weights).unwrap();
    assert_eq!(dropping.evaluate().unwrap(), plain.evaluate().unwrap());
}
