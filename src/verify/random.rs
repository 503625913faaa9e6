//! Cases drawn from a seed: sizes that the table of cases does not contain.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::cases::Case;
use super::cases::conv::{halving_pool, unpooling};
use super::cases::elementwise::ACTIVATIONS;
use super::cases::norm::EPSILON;
use super::cases::pool::both_passes;
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::conv::{
    ConvBatchNorm, ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput, ConvMaxPool,
};
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use crate::ops::norm::{BatchNormSize, BatchNormTrain};
use crate::ops::pool::{MaxUnpool, PoolGeometry, UnpooledGrad};
use crate::ops::window::{Axis, Padding, WindowOptions};
use crate::ops::{Epilogue, Prologue};
use crate::tensor::ImageShape;

/// The largest cost of one case, so that its definition runs quickly.
const MAX_FLOPS: u64 = 20_000_000;

/// Every pass of one convolution with its bias, of one pool, or of one dense layer, with sizes drawn from `seed`. The
/// same seed gives the same sizes on every machine.
///
/// Windows are rarely square; they may be even, dilated, larger or smaller than their stride, and padded differently on
/// each side. A third of them may be degenerate along an axis. Convolutions have one group, several groups, or one
/// group per channel.
pub fn random_cases(seed: u64) -> Vec<Case> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let drawn = match rng.random_range(0..10) {
            0..7 => convolution(seed, &mut rng),
            7..9 => pool(seed, &mut rng),
            _ => dense(seed, &mut rng),
        };
        match drawn {
            Some(cases) if cases.iter().all(|case| case.op.flops() <= MAX_FLOPS) => return cases,
            _ => {}
        }
    }
}

fn geometry(rng: &mut ChaCha8Rng) -> Option<ConvGeometry> {
    let (groups, group_in, group_out) = match rng.random_range(0..4) {
        0 | 1 => (1, rng.random_range(1..=40), rng.random_range(1..=70)),
        2 => (rng.random_range(2..=5), rng.random_range(1..=12), rng.random_range(1..=12)),
        _ => (rng.random_range(2..=40), 1, rng.random_range(1..=2)),
    };
    let (batch_size, mut image) = images(rng, groups * group_in);
    let window = window(rng, &mut image);
    ConvGeometry::new(batch_size, image, groups * group_out, groups, &window).ok()
}

fn convolution(seed: u64, rng: &mut ChaCha8Rng) -> Option<Vec<Case>> {
    let geometry = geometry(rng)?;
    let (rows, channels) = (geometry.batch_size * geometry.positions(), geometry.out_channels);
    let name = format!(
        "random {seed}: {}x{}x{}x{}, {channels} filters, {} groups, {}",
        geometry.batch_size,
        geometry.height.input,
        geometry.width.input,
        geometry.in_channels,
        geometry.groups,
        windows(&geometry.height, &geometry.width)
    );
    let (epilogue, prologue) = fused(rng);
    let finished = format!("{name}{}", described(&epilogue));
    let behind = format!("{name}{}", after(&prologue));
    let of_filters = ConvGradFilters { with_bias: rng.random(), ..ConvGradFilters::new(geometry) };
    let forward = ConvForward::new(geometry).with_epilogue(epilogue);
    let normalised = format!("{finished}, normalised with its own statistics");
    let normalised = batch_normalised(forward, rng).map(|op| Case::new(normalised, op));
    let mut cases = vec![
        Case::new(&finished, forward),
        Case::new(&behind, of_filters.with_prologue(prologue)),
        Case::new(&behind, ConvGradInput::new(geometry).with_prologue(prologue)),
        Case::new(&name, BiasForward { rows, channels }),
        Case::new(&behind, BiasGrad::new(rows, channels).with_prologue(prologue)),
    ];
    cases.extend(normalised);
    let pool = halving_pool(&geometry);
    let pooled = pool.and_then(|pool| ConvMaxPool::new(forward, &pool));
    cases.extend(pooled.map(|op| Case::new(format!("{finished}, pooled"), op)));
    let unpool = pool.and_then(|pool| MaxUnpool::new(&pool, prologue));
    cases.extend(unpool.map(|op| Case::new(&behind, op)));
    let before = ImageShape {
        height: 2 * geometry.height.input + rng.random_range(0..2),
        width: 2 * geometry.width.input + rng.random_range(0..2),
        channels: geometry.in_channels,
    };
    let unpool = unpooling(geometry.batch_size, before, fused(rng).1.activation());
    let unpooled = UnpooledGrad::new(ConvGradInput::new(geometry).with_prologue(prologue), unpool);
    cases.extend(unpooled.map(|op| Case::new(format!("{behind}, of {before} before a pool"), op)));
    Some(cases)
}

/// A convolution and the normalisation of its output, where there can be one; half of those have a summand.
fn batch_normalised(conv: ConvForward, rng: &mut ChaCha8Rng) -> Option<ConvBatchNorm> {
    let rows = conv.geometry.batch_size * conv.geometry.positions();
    let size =
        BatchNormSize { rows, channels: conv.geometry.out_channels, epsilon: EPSILON, affine: rng.random() };
    let behind = Epilogue { summand: rng.random(), ..Epilogue::NONE };
    // A single row has no variance.
    (rows > 1).then(|| ConvBatchNorm::new(conv, BatchNormTrain::new(size).with_epilogue(behind)))?
}

fn pool(seed: u64, rng: &mut ChaCha8Rng) -> Option<Vec<Case>> {
    let channels = rng.random_range(1..=20);
    let (batch_size, mut image) = images(rng, channels);
    let window = window(rng, &mut image);
    let (geometry, mode) = match rng.random_bool(0.5) {
        true => (PoolGeometry::in_ceil_mode(batch_size, image, &window), ", ceil mode"),
        false => (PoolGeometry::new(batch_size, image, &window), ""),
    };
    let geometry = geometry.ok()?;
    let described = windows(&geometry.height, &geometry.width);
    let name = format!("random {seed}: {batch_size}x{image}, {described}{mode}");
    Some(both_passes(&name, geometry).collect())
}

fn dense(seed: u64, rng: &mut ChaCha8Rng) -> Option<Vec<Case>> {
    let [batch_size, in_features, out_features] = [100, 600, 200].map(|most| rng.random_range(1..=most));
    let size = DenseSize::new(batch_size, in_features, out_features).ok()?;
    let name = format!("random {seed}: {batch_size} samples, {in_features} to {out_features} features");
    let (epilogue, prologue) = fused(rng);
    let finished = format!("{name}{}", described(&epilogue));
    let behind = format!("{name}{}", after(&prologue));
    let of_weight = DenseGradWeight { with_bias: rng.random(), ..DenseGradWeight::new(size) };
    Some(vec![
        Case::new(finished, DenseForward::new(size).with_epilogue(epilogue)),
        Case::new(&behind, of_weight.with_prologue(prologue)),
        Case::new(&behind, DenseGradInput::new(size).with_prologue(prologue)),
    ])
}

/// A random epilogue of a layer's sum and the matching prologue of its gradients; one layer in four has no epilogue.
fn fused(rng: &mut ChaCha8Rng) -> (Epilogue, Prologue) {
    let activation = rng.random_bool(0.5).then(|| ACTIVATIONS[rng.random_range(0..ACTIVATIONS.len())]);
    let epilogue = Epilogue { bias: rng.random(), activation, ..Epilogue::NONE };
    (epilogue, activation.and_then(Prologue::of).unwrap_or_default())
}

fn described(epilogue: &Epilogue) -> String {
    let bias = if epilogue.bias { ", bias" } else { "" };
    let activation =
        epilogue.activation.map_or(String::new(), |activation| format!(", {}", activation.name()));
    format!("{bias}{activation}")
}

fn after(prologue: &Prologue) -> String {
    prologue.activation().map_or(String::new(), |activation| format!(", after {}", activation.name()))
}

fn images(rng: &mut ChaCha8Rng, channels: usize) -> (usize, ImageShape) {
    let [height, width] = [(); 2].map(|()| rng.random_range(1..=24));
    (rng.random_range(1..=4), ImageShape { height, width, channels })
}

/// A window for `image`. One in three may be degenerate along an axis: a single input position, a single output
/// position, a stride past the end, or padding that contains whole windows.
fn window(rng: &mut ChaCha8Rng, image: &mut ImageShape) -> WindowOptions {
    let mut window = ordinary_window(rng);
    if !rng.random_bool(1.0 / 3.0) {
        return window;
    }
    for (axis, input) in [&mut image.height, &mut image.width].into_iter().enumerate() {
        match rng.random_range(0..6) {
            0 => *input = 1,
            1 => window.kernel_size[axis] = *input,
            2 => window.stride[axis] = *input + rng.random_range(0..3),
            3 => {
                let span = (window.kernel_size[axis] - 1) * window.dilation[axis] + 1;
                window.padding = Padding::Symmetric([0, 1].map(|other| if other == axis { span } else { 0 }));
            }
            _ => {}
        }
    }
    window
}

fn ordinary_window(rng: &mut ChaCha8Rng) -> WindowOptions {
    let mut pair = |most: usize| [(); 2].map(|()| rng.random_range(1..=most));
    let [kernel_size, stride, dilation] = [pair(6), pair(4), pair(3)];
    let mut side = || rng.random_range(0..=4);
    let padding = match side() {
        0 => Padding::Valid,
        1 => Padding::Same,
        _ => Padding::Sides { top: side(), bottom: side(), left: side(), right: side() },
    };
    WindowOptions { kernel_size, stride, dilation, padding }
}

/// Describes a window: its sizes, height by width, and its padding: top, bottom, left, right.
pub(super) fn windows(height: &Axis, width: &Axis) -> String {
    let pair = |size: fn(&Axis) -> usize| format!("{}x{}", size(height), size(width));
    format!(
        "kernel {}, stride {}, dilation {}, padding {},{},{},{}",
        pair(|axis| axis.kernel),
        pair(|axis| axis.stride),
        pair(|axis| axis.dilation),
        height.padding_before,
        height.padding_after,
        width.padding_before,
        width.padding_after
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_cases_and_another_seed_others() {
        let names = |seeds: std::ops::Range<u64>| -> Vec<String> {
            seeds.flat_map(random_cases).map(|case| case.to_string()).collect()
        };
        assert_eq!(names(0..50), names(0..50));
        let all = names(0..500);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for drawn in ["conv2d", "bias", "max_pool2d", "average_pool2d", "dense"] {
            assert!(all.iter().any(|name| name.starts_with(drawn)), "{drawn}");
        }
    }
    #[test]
    fn drawn_convolutions_are_of_every_kind() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let drawn: Vec<ConvGeometry> = (0..1000).filter_map(|_| geometry(&mut rng)).collect();
        let remainder = |axis: &Axis| {
            let padded = axis.input + axis.padding_before + axis.padding_after;
            !(padded - (axis.kernel - 1) * axis.dilation - 1).is_multiple_of(axis.stride)
        };
        type Kind<'a> = (&'a str, &'a dyn Fn(&ConvGeometry) -> bool);
        let meets_padding_alone = |axis: &Axis| (0..axis.output).any(|p| axis.taps_inside(p).is_empty());
        let kinds: [Kind; 12] = [
            ("one row", &|g| g.height.input == 1),
            ("one column of results", &|g| g.width.output == 1),
            ("stride past the end", &|g| g.height.stride >= g.height.input),
            ("padding alone", &|g| meets_padding_alone(&g.width)),
            ("not square", &|g| g.height.kernel != g.width.kernel && g.height.input != g.width.input),
            ("even kernel", &|g| g.height.kernel % 2 == 0 && g.width.kernel % 2 == 0),
            ("stride with a remainder", &|g| remainder(&g.height) && remainder(&g.width)),
            ("stride beyond the kernel", &|g| g.height.stride > g.height.kernel),
            ("groups with dilation", &|g| g.groups > 1 && g.group_in_channels() > 1 && g.width.dilation > 1),
            ("depthwise", &|g| g.groups > 1 && g.group_in_channels() == 1),
            ("lopsided padding", &|g| g.height.padding_before != g.height.padding_after),
            ("padding beyond the kernel", &|g| g.width.padding_before > g.width.kernel),
        ];
        for (kind, is_kind) in kinds {
            let count = drawn.iter().filter(|geometry| is_kind(geometry)).count();
            assert!(count >= 20, "{kind}: {count} of {}", drawn.len());
        }
    }
}
