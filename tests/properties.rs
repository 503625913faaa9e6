//! Random geometries: whatever fits together, every implementation of every pass gives the definition's
//! answer, exactly on small integers.

mod common;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use wgconv::cpu::CpuExecutor;
use wgconv::gpu::{GpuExecutor, Preference, ShaderChecks};
use wgconv::ops::Op;
use wgconv::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use wgconv::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::plan::Executor;
use wgconv::tensor::ImageShape;
use wgconv::verify::{Data, Trial};

/// Windows of every kind: not square, even, with remainders, dilated, padded on each side by itself.
fn windows() -> impl Strategy<Value = WindowOptions> {
    let pair = |most: usize| [1..=most, 1..=most];
    let sides = (0..4usize, 0..4usize, 0..4usize, 0..4usize);
    let padding = prop_oneof![
        3 => sides.prop_map(|(top, bottom, left, right)| Padding::Sides { top, bottom, left, right }),
        1 => Just(Padding::Same),
        1 => Just(Padding::Valid),
    ];
    (pair(5), pair(4), pair(3), padding).prop_map(|(kernel_size, stride, dilation, padding)| WindowOptions {
        kernel_size,
        stride,
        dilation,
        padding,
    })
}

fn convolutions() -> impl Strategy<Value = ConvGeometry> {
    let sizes = (1..4usize, 1..14usize, 1..14usize);
    let channels = (1..5usize, 1..13usize, 1..13usize);
    (sizes, channels, windows()).prop_filter_map(
        "the window fits",
        |((batch_size, height, width), (groups, group_in, group_out), window)| {
            let image = ImageShape { height, width, channels: groups * group_in };
            ConvGeometry::new(batch_size, image, groups * group_out, groups, &window).ok()
        },
    )
}

fn pools() -> impl Strategy<Value = PoolGeometry> {
    let sizes = (1..4usize, 1..14usize, 1..14usize, 1..9usize);
    (sizes, windows()).prop_filter_map(
        "the window fits and meets the input",
        |((batch_size, height, width, channels), window)| {
            PoolGeometry::new(batch_size, ImageShape { height, width, channels }, &window).ok()
        },
    )
}

/// Runs `ops` on the CPU and on the GPU, in every implementation; integers where they are exact.
fn check(gpu: &mut Option<GpuExecutor>, ops: Vec<Box<dyn Op>>) -> Result<(), TestCaseError> {
    for op in ops {
        let data = if op.precision().exact_on_integers { Data::Integers } else { Data::Reals };
        let trial = Trial::new(op, data, 5).expect("an operation that takes these data");
        let verdict = trial.run(&mut CpuExecutor::new()).expect("the CPU does not fail");
        prop_assert!(verdict.is_ok(), "CPU: {}", verdict.unwrap_err());
        let Some(gpu) = gpu else { continue };
        for implementation in trial.plan().forward[0].op.implementations(gpu.profile()) {
            gpu.clear();
            gpu.set_preference(Preference::Named(implementation.name.into()));
            let verdict = trial.run(gpu).expect("the GPU does not fail");
            prop_assert!(verdict.is_ok(), "{}: {}", implementation.name, verdict.unwrap_err());
        }
    }
    Ok(())
}

/// The same cases in every run, so that a failure can be met again.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

#[test]
fn every_convolution_agrees_with_its_definition() {
    let gpu = RefCell::new(common::gpu("every_convolution_agrees_with_its_definition", ShaderChecks::Off));
    let result = runner(60).run(&convolutions(), |geometry| {
        let ops: [Box<dyn Op>; 3] = [
            Box::new(ConvForward(geometry)),
            Box::new(ConvGradFilters(geometry)),
            Box::new(ConvGradInput(geometry)),
        ];
        check(&mut gpu.borrow_mut(), ops.into())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn every_pool_agrees_with_its_definition() {
    let gpu = RefCell::new(common::gpu("every_pool_agrees_with_its_definition", ShaderChecks::Off));
    let result = runner(40).run(&pools(), |geometry| {
        let ops = [PoolKind::Max, PoolKind::Average].into_iter().flat_map(|kind| -> [Box<dyn Op>; 2] {
            [Box::new(PoolForward { kind, geometry }), Box::new(PoolGrad { kind, geometry })]
        });
        check(&mut gpu.borrow_mut(), ops.collect())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
