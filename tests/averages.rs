//! The moving averages of weights that a training keeps.

mod common;

use std::ops::ControlFlow;

use wgconv::data::{DataSplits, synthetic};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::network::{Network, Weights};
use wgconv::plan::Executor;
use wgconv::train::{TrainSettings, Trainer};

const KEPT: f32 = 0.75;
const STEPS: usize = 4;

fn data() -> DataSplits {
    synthetic(3, 8, 8)
}

fn network() -> Network {
    let data = data();
    let builder = Network::builder("averaged", data.train.image).batch_norm().flatten();
    builder.dense(data.train.classes.len()).build().unwrap()
}

/// A training whose epochs have one step.
fn trainer(executor: Box<dyn Executor>, ema: Option<f32>) -> Trainer {
    let settings = TrainSettings { ema, batch_size: 8, epochs: STEPS, ..TrainSettings::default() };
    Trainer::new(executor, network(), &data(), settings).unwrap()
}

fn averages(trainer: &mut Trainer) -> Option<Weights> {
    trainer.state().unwrap().averages(&network()).unwrap()
}

fn assert_follow(executor: Box<dyn Executor>) {
    let mut trainer = trainer(executor, Some(KEPT));
    let values = |weights: &Weights, name: &str| weights.get(name).unwrap().data().to_vec();
    let first = trainer.weights().unwrap();
    assert_eq!(averages(&mut trainer), Some(first.clone()), "an average begins at the first weights");
    let names: Vec<String> = first.iter().map(|(name, _)| name.to_owned()).collect();
    let mut expected: Vec<Vec<f32>> = names.iter().map(|name| values(&first, name)).collect();
    for step in 0..STEPS {
        trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        let (now, found) = (trainer.weights().unwrap(), averages(&mut trainer).unwrap());
        for (name, expected) in names.iter().zip(&mut expected) {
            // Statistics are those of the last step.
            let kept = if name.contains("running_") { 0.0 } else { KEPT };
            for (expected, now) in expected.iter_mut().zip(values(&now, name)) {
                *expected = kept * *expected + (1.0 - kept) * now;
            }
            for (found, expected) in values(&found, name).iter().zip(expected) {
                assert!((found - *expected).abs() <= 1e-6, "{name}, step {step}: {found}, {expected}");
            }
        }
    }
    assert_ne!(Some(trainer.weights().unwrap()), averages(&mut trainer), "an average lags behind");
}

#[test]
fn averages_follow_the_weights_on_the_cpu_and_on_the_reference() {
    assert_follow(Box::new(CpuExecutor::new()));
    assert_follow(Box::new(ReferenceExecutor::new()));
}

#[test]
fn averages_follow_the_weights_on_a_gpu() {
    let Some(gpu) = common::gpu("averages_follow_the_weights_on_a_gpu", ShaderChecks::On) else { return };
    assert_follow(Box::new(gpu));
}

#[test]
fn averages_change_nothing_else() {
    let mut with = trainer(Box::new(CpuExecutor::new()), Some(KEPT));
    let mut without = trainer(Box::new(CpuExecutor::new()), None);
    for trainer in [&mut with, &mut without] {
        trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
    }
    assert_eq!(with.weights().unwrap(), without.weights().unwrap());
    assert_eq!(averages(&mut without), None);
}
