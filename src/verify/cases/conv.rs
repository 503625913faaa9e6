//! Convolutions that other software has got wrong: dropped tails, even and asymmetric windows, groups with dilation.

use crate::ops::activation::Activation;
use crate::ops::conv::{
    ConvBatchNorm, ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput, ConvMaxPool,
};
use crate::ops::norm::{BatchNormSize, BatchNormTrain};
use crate::ops::pool::{MaxUnpool, PoolForward, PoolGeometry, PoolKind, UnpooledGrad};
use crate::ops::window::{Padding, WindowOptions};
use crate::ops::{Epilogue, Normalise, Prologue};
use crate::tensor::ImageShape;

use super::Case;
use super::elementwise::ACTIVATIONS;

/// Geometries, each with a name that says what it tests.
pub fn geometries() -> Vec<(&'static str, ConvGeometry)> {
    let sides = |top, bottom, left, right| Padding::Sides { top, bottom, left, right };
    let both = |padding| Padding::Symmetric([padding; 2]);
    // name, [batch, height, width, channels], filters, groups, kernel, stride, dilation, padding
    type Row = (&'static str, [usize; 4], usize, usize, [usize; 2], [usize; 2], [usize; 2], Padding);
    let rows: Vec<Row> = vec![
        ("one value", [1, 1, 1, 1], 1, 1, [1, 1], [1, 1], [1, 1], both(0)),
        ("lenet 1", [3, 12, 12, 1], 16, 1, [5, 5], [1, 1], [1, 1], Padding::Same),
        ("lenet 2", [3, 7, 7, 16], 32, 1, [5, 5], [1, 1], [1, 1], Padding::Same),
        ("3x3", [2, 9, 9, 24], 40, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("not square", [2, 7, 13, 8], 12, 1, [3, 5], [1, 1], [1, 1], Padding::Symmetric([1, 2])),
        ("even kernel, same", [2, 8, 9, 8], 8, 1, [4, 2], [1, 1], [1, 1], Padding::Same),
        ("stride drops the tail", [2, 10, 11, 8], 9, 1, [3, 3], [2, 3], [1, 1], both(0)),
        ("stride, odd input", [1, 28, 27, 3], 8, 1, [3, 3], [2, 2], [1, 1], both(1)),
        ("stride beyond the kernel", [2, 11, 11, 8], 8, 1, [2, 2], [4, 3], [1, 1], both(0)),
        ("stride as long as the kernel", [2, 3, 6, 18], 7, 1, [3, 1], [3, 1], [1, 1], both(0)),
        ("1x1", [2, 6, 6, 20], 33, 1, [1, 1], [1, 1], [1, 1], both(0)),
        ("1x1 with stride", [2, 7, 8, 16], 24, 1, [1, 1], [2, 2], [1, 1], both(0)),
        ("1x1 with padding", [1, 4, 4, 8], 8, 1, [1, 1], [1, 1], [1, 1], both(2)),
        ("padding beyond the reach", [2, 4, 4, 8], 8, 1, [3, 3], [1, 1], [1, 1], both(4)),
        ("four different sides", [2, 7, 7, 8], 10, 1, [3, 3], [2, 1], [1, 1], sides(0, 2, 3, 1)),
        ("dilation", [2, 11, 12, 8], 8, 1, [3, 3], [1, 1], [2, 3], both(2)),
        ("dilation and stride", [2, 15, 14, 8], 8, 1, [3, 2], [2, 2], [3, 2], both(1)),
        ("groups", [2, 8, 8, 24], 32, 2, [3, 3], [1, 1], [1, 1], both(1)),
        ("groups and dilation", [2, 9, 10, 12], 18, 3, [3, 3], [1, 2], [2, 2], both(2)),
        ("depthwise", [2, 9, 9, 19], 19, 19, [3, 3], [1, 1], [1, 1], both(1)),
        (
            "depthwise, taps in padding alone",
            [2, 3, 9, 18],
            18,
            18,
            [3, 3],
            [1, 1],
            [4, 1],
            sides(4, 4, 1, 1),
        ),
        ("taps in padding alone", [2, 3, 9, 7], 18, 1, [3, 3], [1, 1], [4, 1], sides(4, 4, 1, 1)),
        ("depthwise, two filters per channel", [2, 8, 8, 6], 12, 6, [5, 5], [2, 2], [1, 1], both(2)),
        ("kernel as large as the input", [3, 6, 5, 8], 16, 1, [6, 5], [1, 1], [1, 1], both(0)),
        ("one dimension", [2, 1, 40, 4], 8, 1, [1, 9], [1, 1], [1, 1], Padding::Symmetric([0, 4])),
        ("several tiles, ragged", [5, 15, 15, 17], 67, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("long sum over positions", [9, 20, 20, 3], 10, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("long sums, few of them", [1, 5, 5, 72], 12, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("3x3, tiles that run past the end", [2, 9, 11, 32], 48, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("3x3, whole tiles", [2, 12, 12, 64], 32, 1, [3, 3], [1, 1], [1, 1], Padding::Same),
        ("3x3, whole tiles and workgroups", [2, 16, 16, 32], 64, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("3x3, no padding", [3, 10, 9, 36], 34, 1, [3, 3], [1, 1], [1, 1], both(0)),
        ("3x3, gradient of a wider input", [2, 5, 4, 32], 40, 1, [3, 3], [1, 1], [1, 1], both(2)),
        ("3x3, gradient of an input within", [1, 6, 5, 33], 44, 1, [3, 3], [1, 1], [1, 1], both(3)),
        ("3x3, four different sides", [2, 7, 10, 64], 35, 1, [3, 3], [1, 1], [1, 1], sides(0, 3, 4, 1)),
        ("3x3, odd channels", [2, 13, 14, 37], 39, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("3x3, more tiles than a block", [1, 34, 30, 32], 40, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("more filters than a block", [1, 5, 5, 128], 66, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("1x1, longer sums than a panel", [1, 3, 5, 2100], 35, 1, [1, 1], [1, 1], [1, 1], both(0)),
        ("longer sums than a panel", [1, 3, 4, 260], 17, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("more channels than a tile is wide", [2, 12, 12, 124], 252, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("many channels and a stride", [1, 15, 14, 100], 132, 1, [3, 3], [2, 2], [1, 1], both(1)),
        ("many odd channels", [1, 12, 13, 67], 131, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("3x3, long and low", [1, 4, 33, 16], 20, 1, [3, 3], [1, 1], [1, 1], both(1)),
        ("wider than a row of invocations", [2, 11, 37, 12], 20, 1, [5, 5], [1, 1], [1, 1], both(2)),
        (
            "fours of channels, four different sides",
            [2, 7, 10, 24],
            36,
            1,
            [3, 5],
            [1, 1],
            [1, 1],
            sides(0, 3, 4, 1),
        ),
        (
            "few channels, more taps than are met at once",
            [3, 9, 29, 2],
            70,
            1,
            [4, 11],
            [1, 2],
            [2, 1],
            sides(3, 1, 5, 2),
        ),
        ("few channels, padding beyond the reach", [2, 5, 7, 4], 8, 1, [2, 3], [1, 1], [1, 1], both(4)),
        ("a single row", [2, 1, 9, 8], 12, 1, [7, 2], [1, 1], [1, 1], sides(3, 3, 1, 0)),
        ("one row and a stride", [4, 1, 1, 4], 8, 1, [1, 1], [2, 2], [1, 1], both(0)),
        ("one row, a stride down", [1, 1, 16, 64], 64, 1, [1, 1], [2, 1], [1, 1], both(0)),
        ("1x1, many positions", [2, 79, 71, 9], 13, 1, [1, 1], [1, 1], [1, 1], both(0)),
    ];
    rows.into_iter()
        .map(
            |(
                name,
                [batch_size, height, width, channels],
                filters,
                groups,
                kernel_size,
                stride,
                dilation,
                padding,
            )| {
                let image = ImageShape { height, width, channels };
                let window = WindowOptions { kernel_size, stride, dilation, padding };
                let geometry = ConvGeometry::new(batch_size, image, filters, groups, &window);
                (name, geometry.unwrap_or_else(|error| panic!("{name}: {error}")))
            },
        )
        .collect()
}

fn geometry(name: &str) -> ConvGeometry {
    let found = geometries().into_iter().find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("no geometry {name}")).1
}

/// Convolutions with an epilogue: every activation, with and without a bias, on geometries whose kernels store their
/// results in different ways.
pub fn epilogues() -> Vec<(String, ConvForward)> {
    let every = ACTIVATIONS.map(|activation| ("groups and dilation", true, Some(activation)));
    let others = [
        ("lenet 1", true, Some(Activation::Relu)),
        ("3x3", true, Some(Activation::Relu)),
        ("1x1", true, None),
        ("1x1 with stride", false, Some(Activation::Relu)),
        ("depthwise", true, Some(Activation::Relu)),
        ("several tiles, ragged", true, Some(Activation::LeakyRelu { slope: 0.2 })),
        ("3x3, tiles that run past the end", true, Some(Activation::Relu)),
        ("3x3, no padding", true, Some(Activation::Tanh)),
        ("3x3, odd channels", true, None),
        ("long sums, few of them", true, Some(Activation::Tanh)),
        ("long sums, few of them", true, None),
    ];
    let rows = every.into_iter().chain(others);
    rows.map(|(name, bias, activation)| {
        let parts = [Some(name), bias.then_some("bias"), activation.map(|activation| activation.name())];
        let op =
            ConvForward::new(geometry(name)).with_epilogue(Epilogue { bias, activation, ..Epilogue::NONE });
        (parts.into_iter().flatten().collect::<Vec<_>>().join(", "), op)
    })
    .collect()
}

/// Convolutions with a normalisation among their epilogue, as evaluation has them, on geometries whose kernels store their
/// results in different ways.
fn normalised() -> impl Iterator<Item = Case> {
    let rows = [
        ("groups and dilation", true, Some(Activation::Gelu)),
        ("lenet 1", false, Some(Activation::Relu)),
        ("3x3", true, Some(Activation::Relu)),
        ("1x1", false, None),
        ("1x1 with stride", true, None),
        ("depthwise", false, Some(Activation::HardSwish)),
        ("several tiles, ragged", false, Some(Activation::Relu)),
        ("3x3, tiles that run past the end", false, Some(Activation::Silu)),
        ("3x3, odd channels", false, Some(Activation::Relu)),
        ("long sums, few of them", true, Some(Activation::Tanh)),
    ];
    rows.into_iter().map(|(name, bias, activation)| {
        let normalise = Some(Normalise { epsilon: super::norm::EPSILON });
        let epilogue = Epilogue { bias, normalise, activation, ..Epilogue::NONE };
        Case::new(format!("{name}, normalised"), ConvForward::new(geometry(name)).with_epilogue(epilogue))
    })
}

/// Convolutions and the normalisation behind them, as training has them: with and without a bias and an activation between the
/// two, and with what may follow, on geometries of few rows and of many, with whole tiles and with parts of them.
fn batch_normalised() -> impl Iterator<Item = Case> {
    let relu = Some(Activation::Relu);
    // name, what follows the convolution, whether the normalisation is affine, whether a summand and what activation follow
    let rows = [
        ("3x3", Epilogue::NONE, true, true, relu),
        ("1x1 with stride", Epilogue { activation: relu, ..Epilogue::NONE }, false, true, None),
        ("several tiles, ragged", Epilogue { bias: true, ..Epilogue::NONE }, true, false, relu),
        ("3x3, whole tiles and workgroups", Epilogue { bias: true, ..Epilogue::NONE }, true, false, relu),
        ("3x3, odd channels", Epilogue::NONE, false, false, None),
        ("long sums, few of them", Epilogue::NONE, true, false, relu),
        ("more channels than a tile is wide", Epilogue::NONE, true, false, Some(Activation::Gelu)),
        ("1x1, many positions", Epilogue::NONE, true, true, relu),
    ];
    rows.into_iter().map(|(name, between, affine, summand, activation)| {
        let geometry = geometry(name);
        let (rows, epsilon) = (geometry.batch_size * geometry.positions(), super::norm::EPSILON);
        let size = BatchNormSize { rows, channels: geometry.out_channels, epsilon, affine };
        let behind = Epilogue { summand, activation, ..Epilogue::NONE };
        let conv = ConvForward::new(geometry).with_epilogue(between);
        let op = ConvBatchNorm::new(conv, BatchNormTrain::new(size).with_epilogue(behind));
        Case::new(format!("{name}, normalised with its own statistics"), op.expect("sizes that fit"))
    })
}

/// A max-pool of what a convolution writes, by windows of 2x2 side by side; `None` if there is no whole window.
pub fn halving_pool(geometry: &ConvGeometry) -> Option<PoolForward> {
    let [height, width] = [geometry.height.output, geometry.width.output];
    let image = ImageShape { height, width, channels: geometry.out_channels };
    let window = WindowOptions { stride: [2, 2], ..WindowOptions::new([2, 2]) };
    let geometry = PoolGeometry::new(geometry.batch_size, image, &window).ok()?;
    Some(PoolForward { kind: PoolKind::Max, geometry })
}

/// Convolutions and the max-pool behind them, with and without what is between the two, on geometries whose kernels store their
/// results in different ways: with odd sizes, of which rows and columns are left out, a single row or column of windows, and
/// equal values, in windows that meet padding alone and behind a ReLU.
pub fn pooled() -> impl Iterator<Item = (String, ConvForward, PoolForward)> {
    let relu = Some(Activation::Relu);
    let rows = [
        ("lenet 1", true, relu),
        ("lenet 2", true, relu),
        ("3x3", true, relu),
        ("not square", false, None),
        ("stride, odd input", true, Some(Activation::Tanh)),
        ("taps in padding alone", true, relu),
        ("stride drops the tail", true, relu),
        ("1x1", false, relu),
        ("1x1 with padding", true, relu),
        ("padding beyond the reach", false, None),
        ("groups and dilation", true, Some(Activation::LeakyRelu { slope: 0.25 })),
        ("depthwise", true, relu),
        ("several tiles, ragged", true, relu),
        ("long sums, few of them", true, relu),
        ("3x3, whole tiles and workgroups", true, relu),
        ("3x3, tiles that run past the end", false, relu),
        ("3x3, odd channels", true, None),
        ("more channels than a tile is wide", true, relu),
        ("1x1, many positions", true, relu),
        ("long sum over positions", false, relu),
        ("few channels, more taps than are met at once", true, None),
        ("few channels, padding beyond the reach", true, relu),
    ];
    rows.into_iter().map(|(name, bias, activation)| {
        let geometry = geometry(name);
        let conv = ConvForward::new(geometry).with_epilogue(Epilogue { bias, activation, ..Epilogue::NONE });
        (format!("{name}, pooled"), conv, halving_pool(&geometry).expect("an output of two rows and columns"))
    })
}

/// The unpooling of an image's gradient: that of a max-pool, whose output is the input of a layer, with the prologue of an
/// activation in front of the pool.
pub fn unpooling(batch_size: usize, image: ImageShape, activation: Option<Activation>) -> MaxUnpool {
    let window = WindowOptions { stride: [2, 2], ..WindowOptions::new([2, 2]) };
    let geometry = PoolGeometry::new(batch_size, image, &window).expect("an image of two rows and columns");
    let prologue = activation.map_or(Some(Prologue::NONE), Prologue::of).expect("a derivative of the output");
    MaxUnpool::new(&PoolForward { kind: PoolKind::Max, geometry }, prologue).expect("windows of 2x2")
}

/// Gradients of a max-pool's output, and their unpooling, with whole windows and with a row or a column past them: each with the
/// activation behind the convolution and that in front of the pool. In kernels that store their results in different ways, four
/// at a time and one.
pub fn unpooled() -> Vec<(String, UnpooledGrad<ConvGradInput>)> {
    let relu = Some(Activation::Relu);
    let rows = [
        ("lenet 1", [1, 1], None, None),
        ("lenet 2", [0, 0], relu, relu),
        ("3x3", [0, 1], relu, relu),
        ("stride, odd input", [1, 0], Some(Activation::Tanh), Some(Activation::Tanh)),
        ("groups and dilation", [0, 0], None, Some(Activation::LeakyRelu { slope: 0.25 })),
        ("depthwise", [0, 1], relu, relu),
        ("several tiles, ragged", [1, 0], relu, Some(Activation::Tanh)),
        ("long sums, few of them", [0, 0], relu, relu),
        ("3x3, whole tiles and workgroups", [1, 1], relu, relu),
        ("3x3, odd channels", [1, 0], None, relu),
        ("more channels than a tile is wide", [0, 0], relu, relu),
    ];
    rows.map(|(name, [row, column], behind, before)| {
        let geometry = geometry(name);
        let prologue = behind.map_or(Some(Prologue::NONE), Prologue::of).expect("a derivative of the output");
        let grad = ConvGradInput::new(geometry).with_prologue(prologue);
        let image = ImageShape {
            height: 2 * geometry.height.input + row,
            width: 2 * geometry.width.input + column,
            channels: geometry.in_channels,
        };
        let unpool = unpooling(geometry.batch_size, image, before);
        let name = format!("{name}, of an image of {image} before the pool");
        (name, UnpooledGrad::new(grad, unpool).expect("the gradient of the pool's output"))
    })
    .into()
}

/// Gradients with a prologue: every activation that has one, on geometries whose kernels read the gradient in different
/// ways.
pub fn prologues() -> Vec<(String, ConvGeometry, Prologue)> {
    let every = ACTIVATIONS.map(|activation| ("groups and dilation", activation));
    let others = [
        ("lenet 1", Activation::Relu),
        ("3x3", Activation::Relu),
        ("1x1 with stride", Activation::Relu),
        ("stride, odd input", Activation::Tanh),
        ("depthwise", Activation::Relu),
        // A smooth activation: with this many values, central differences would step across the kink of one of them.
        ("several tiles, ragged", Activation::Sigmoid),
        ("long sum over positions", Activation::Tanh),
        ("long sums, few of them", Activation::Relu),
        ("3x3, tiles that run past the end", Activation::Relu),
        ("3x3, odd channels", Activation::Tanh),
    ];
    let rows = every.into_iter().chain(others);
    rows.filter_map(|(name, activation)| {
        let prologue = Prologue::of(activation)?;
        Some((format!("{name}, after {}", activation.name()), geometry(name), prologue))
    })
    .collect()
}

pub(super) fn cases() -> Vec<Case> {
    let alone = geometries().into_iter().flat_map(|(name, geometry)| {
        [
            Case::new(name, ConvForward::new(geometry)),
            Case::new(name, ConvGradFilters::new(geometry)),
            Case::new(name, ConvGradInput::new(geometry)),
        ]
    });
    let with_bias = [
        "lenet 1",
        "stride, odd input",
        "long sum over positions",
        "groups",
        "depthwise",
        "several tiles, ragged",
        "long sums, few of them",
        "3x3, odd channels",
        "more channels than a tile is wide",
    ]
    .map(|name| {
        let op = ConvGradFilters::new(geometry(name)).with_bias();
        Case::new(format!("{name}, and the bias's"), op)
    });
    let finished = epilogues().into_iter().map(|(name, op)| Case::new(name, op));
    let after_activations = prologues().into_iter().flat_map(|(name, geometry, prologue)| {
        [
            Case::new(name.clone(), ConvGradFilters::new(geometry).with_prologue(prologue)),
            Case::new(
                format!("{name}, and the bias's"),
                ConvGradFilters::new(geometry).with_prologue(prologue).with_bias(),
            ),
            Case::new(name, ConvGradInput::new(geometry).with_prologue(prologue)),
        ]
    });
    let unpooled = unpooled().into_iter().map(|(name, op)| Case::new(name, op));
    alone
        .chain(with_bias)
        .chain(finished)
        .chain(normalised())
        .chain(batch_normalised())
        .chain(pooled().map(|(name, conv, pool)| {
            Case::new(name, ConvMaxPool::new(conv, &pool).expect("a pool of the convolution's output"))
        }))
        .chain(after_activations)
        .chain(unpooled)
        .collect()
}
