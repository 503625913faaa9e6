//! The moving averages of weights that a training keeps, and those to which weights return.

mod common;

use std::ops::ControlFlow;

use wgconv::data::{DataSplits, synthetic};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::network::{Network, Weights};
use wgconv::plan::Executor;
use wgconv::train::{FreezeAfter, Lookahead, TrainSettings, Trainer};

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
    with(executor, TrainSettings { ema, ..TrainSettings::default() })
}

fn with(executor: Box<dyn Executor>, settings: TrainSettings) -> Trainer {
    let settings = TrainSettings { batch_size: 8, epochs: STEPS, ..settings };
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
            for (expected, now) in expected.iter_mut().zip(values(&now, name)) {
                *expected = KEPT * *expected + (1.0 - KEPT) * now;
            }
            for (found, expected) in values(&found, name).iter().zip(expected) {
                assert!((found - *expected).abs() <= 1e-6, "{name}, step {step}: {found}, {expected}");
            }
        }
    }
    assert_ne!(Some(trainer.weights().unwrap()), averages(&mut trainer), "an average lags behind");
}

/// Weights and statistics, against a training whose weights are replaced by hand.
fn assert_return(new: impl Fn() -> Box<dyn Executor>) {
    let lookahead = Lookahead { every: 2, kept: 0.5, power: 1.0 };
    let mut found = with(new(), TrainSettings { lookahead: Some(lookahead), ..TrainSettings::default() });
    let mut by_hand = trainer(new(), None);
    let mut slow = by_hand.weights().unwrap();
    for step in 1..=STEPS {
        found.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        by_hand.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        if step % 2 == 0 {
            let share_kept = 0.5 * step as f32 / STEPS as f32;
            let now = by_hand.weights().unwrap();
            for (name, now) in now.iter() {
                let slow = slow.get_mut(name).unwrap().data_mut();
                for (slow, now) in slow.iter_mut().zip(now.data()) {
                    *slow = share_kept * *slow + (1.0 - share_kept) * now;
                }
            }
            by_hand.set_weights(&slow).unwrap();
        }
        let (found, expected) = (found.weights().unwrap(), by_hand.weights().unwrap());
        for (name, expected) in expected.iter() {
            for (found, expected) in found.get(name).unwrap().data().iter().zip(expected.data()) {
                assert!((found - expected).abs() <= 1e-5, "{name}, step {step}: {found}, {expected}");
            }
        }
    }
    assert_ne!(found.weights().unwrap(), trained_alone(new()), "lookahead changes nothing");
}

fn trained_alone(executor: Box<dyn Executor>) -> Weights {
    let mut trainer = trainer(executor, None);
    (0..STEPS).for_each(|_| drop(trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap()));
    trainer.weights().unwrap()
}

#[test]
fn weights_return_to_slower_ones() {
    assert_return(|| Box::new(CpuExecutor::new()));
    assert_return(|| Box::new(ReferenceExecutor::new()));
}

#[test]
fn weights_return_to_slower_ones_on_a_gpu() {
    const TEST: &str = "weights_return_to_slower_ones_on_a_gpu";
    if common::gpu(TEST, ShaderChecks::On).is_some() {
        assert_return(|| Box::new(common::gpu(TEST, ShaderChecks::On).unwrap()));
    }
}

/// The last step ends at the slow weights, even if it is not one of those after which weights return.
#[test]
fn a_run_ends_at_the_slow_weights() {
    let lookahead = Lookahead { every: STEPS as u64 - 1, kept: 0.0, power: 0.0 };
    let settings = TrainSettings { lookahead: Some(lookahead), ..TrainSettings::default() };
    let mut trainer = with(Box::new(CpuExecutor::new()), settings);
    let mut seen = Vec::new();
    for _ in 0..STEPS {
        trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        seen.push(trainer.weights().unwrap());
    }
    assert_eq!(seen[STEPS - 1], seen[STEPS - 2]);
    assert_ne!(seen[STEPS - 2], seen[STEPS - 3]);
}

fn assert_trained_at_first(executor: Box<dyn Executor>) {
    let freeze_after = FreezeAfter { epochs: 2, names: vec!["*.bias".into()] };
    let settings = TrainSettings { freeze_after: Some(freeze_after), ..TrainSettings::default() };
    let mut trainer = with(executor, settings);
    let mut seen = vec![trainer.weights().unwrap()];
    for _ in 0..STEPS {
        trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        seen.push(trainer.weights().unwrap());
    }
    for (step, weights) in seen.windows(2).enumerate() {
        for (name, before) in weights[0].iter() {
            let is_frozen = step >= 2 && name.ends_with(".bias");
            assert_eq!(weights[1].get(name).unwrap() == before, is_frozen, "{name}, step {step}");
        }
    }
}

#[test]
fn some_weights_are_trained_at_first_alone() {
    assert_trained_at_first(Box::new(CpuExecutor::new()));
    assert_trained_at_first(Box::new(ReferenceExecutor::new()));
    if let Some(gpu) = common::gpu("some_weights_are_trained_at_first_alone", ShaderChecks::On) {
        assert_trained_at_first(Box::new(gpu));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |settings: TrainSettings| {
        let settings = TrainSettings { batch_size: 8, ..settings };
        Trainer::new(Box::new(CpuExecutor::new()), network(), &data(), settings).err().unwrap().to_string()
    };
    let both =
        TrainSettings { ema: Some(0.9), lookahead: Some(Lookahead::default()), ..TrainSettings::default() };
    assert_eq!(refused(both), "average of weights: expected either ema or lookahead, found both");
    for ema in [0.0, 1.0, -0.5, f32::NAN] {
        let message = refused(TrainSettings { ema: Some(ema), ..TrainSettings::default() });
        assert!(message.starts_with("average of weights: expected a share above 0 and below 1"), "{message}");
    }
    let freeze_after = Some("2:conv1.*".parse().unwrap());
    let message = refused(TrainSettings { freeze_after, ..TrainSettings::default() });
    assert!(message.starts_with("freeze_after: expected a pattern that matches one of "), "{message}");
    for text in ["", "3", "x:a", "3:", "3:a,,b"] {
        let message = text.parse::<FreezeAfter>().unwrap_err().to_string();
        let expected =
            "freeze_after: expected a number of epochs and names such as 3:conv1.bias,conv2.*, found";
        assert_eq!(message, format!("{expected} {text:?}"));
    }
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
