//! Random geometries: for all sizes that fit together, every implementation of every pass gives the definition's
//! answer, exactly on small integers.

mod common;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use wgconv::gpu::{GpuExecutor, ShaderChecks};
use wgconv::host::CpuExecutor;
use wgconv::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use wgconv::ops::pool::{PoolForward, PoolGeometry, PoolGrad};
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{Epilogue, Op, Prologue};
use wgconv::tensor::ImageShape;
use wgconv::verify::cases::elementwise::ACTIVATIONS;
use wgconv::verify::cases::pool::KINDS;
use wgconv::verify::{Data, Trial};

/// Windows of every kind: not square, even, with remainders, dilated, padded differently on each side.
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
    (sizes, windows(), any::<bool>()).prop_filter_map(
        "the window fits and meets the input",
        |((batch_size, height, width, channels), window, ceil_mode)| {
            let geometry = if ceil_mode { PoolGeometry::in_ceil_mode } else { PoolGeometry::new };
            geometry(batch_size, ImageShape { height, width, channels }, &window).ok()
        },
    )
}

/// Runs the operations that `ops` returns, on the CPU and on the GPU, in every implementation: those that are exact on
/// integers with integers, the others with reals.
fn check(gpu: &mut Option<GpuExecutor>, ops: impl Fn() -> Vec<Box<dyn Op>>) -> Result<(), TestCaseError> {
    let trials = Data::ALL.into_iter().flat_map(|data| ops().into_iter().map(move |op| (data, op)));
    for (data, op) in trials {
        let exact_op = op.precision().exact_on_integers;
        let is_wanted = |exact: bool| (data == Data::Integers) == (exact_op && exact);
        let mut implementations =
            gpu.as_ref().map(|gpu| op.implementations(gpu.profile())).unwrap_or_default();
        implementations.retain(|implementation| is_wanted(implementation.exact_on_integers));
        if !is_wanted(true) && implementations.is_empty() {
            continue;
        }
        let trial = Trial::new(op, data, 5).expect("an operation that takes these data");
        if is_wanted(true) {
            let verdict = trial.run(&mut CpuExecutor::new()).expect("the CPU does not fail");
            prop_assert!(verdict.is_ok(), "CPU: {}", verdict.unwrap_err());
        }
        let Some(gpu) = gpu else { continue };
        for implementation in implementations {
            let verdict = trial.run_as(gpu, implementation.name).expect("the GPU does not fail");
            prop_assert!(verdict.is_ok(), "{}: {}", implementation.name, verdict.unwrap_err());
        }
    }
    Ok(())
}

/// Runs the same cases every time, so that a failure can be reproduced.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

// Two tests, each on a core of its own: kernels take long to compile.
#[test]
fn every_convolution_with_a_bias_agrees_with_its_definition() {
    check_convolutions("every_convolution_with_a_bias_agrees_with_its_definition", true);
}

#[test]
fn every_convolution_without_a_bias_agrees_with_its_definition() {
    check_convolutions("every_convolution_without_a_bias_agrees_with_its_definition", false);
}

fn check_convolutions(test: &str, bias: bool) {
    let gpu = RefCell::new(common::gpu(test, ShaderChecks::Off));
    let activations = prop::option::of(prop::sample::select(&ACTIVATIONS));
    let mut runner = runner(30);
    if bias {
        // The two tests draw other geometries.
        runner.new_rng();
    }
    let result = runner.run(&(convolutions(), activations), |(geometry, activation)| {
        let epilogue = Epilogue { bias, activation, ..Epilogue::NONE };
        let prologue = activation.and_then(Prologue::of).unwrap_or_default();
        let of_filters = ConvGradFilters { with_bias: bias, ..ConvGradFilters::new(geometry) };
        check(&mut gpu.borrow_mut(), || -> Vec<Box<dyn Op>> {
            vec![
                Box::new(ConvForward::new(geometry).with_epilogue(epilogue)),
                Box::new(of_filters.with_prologue(prologue)),
                Box::new(ConvGradInput::new(geometry).with_prologue(prologue)),
            ]
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn every_pool_agrees_with_its_definition() {
    let gpu = RefCell::new(common::gpu("every_pool_agrees_with_its_definition", ShaderChecks::Off));
    let result = runner(40).run(&pools(), |geometry| {
        check(&mut gpu.borrow_mut(), || {
            let both = |kind| -> [Box<dyn Op>; 2] {
                [Box::new(PoolForward { kind, geometry }), Box::new(PoolGrad::new(kind, geometry))]
            };
            KINDS.into_iter().flat_map(both).collect()
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
