//! Sums of more than 65,535 terms, at which some drivers silently end a kernel's loops.

use crate::ops::bias::BiasGrad;
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use crate::ops::multiply::MultiplyGradFactors;
use crate::ops::norm::{
    BatchNormGrad, BatchNormSize, BatchNormTrain, GroupNormGradSums, GroupNormGradWeight,
    GroupNormStatistics, GroupSize,
};
use crate::ops::pool::PoolGeometry;
use crate::ops::prelu::PreluGradWeight;
use crate::ops::window::{Padding, WindowOptions};
use crate::tensor::ImageShape;

use super::Case;
use super::pool::both_passes;

/// A convolution of an input `[batch, height, width, channels]`.
fn conv(
    [batch_size, height, width, channels]: [usize; 4],
    filters: usize,
    groups: usize,
    kernel_size: [usize; 2],
    padding: usize,
) -> ConvGeometry {
    let window =
        WindowOptions { padding: Padding::Symmetric([padding; 2]), ..WindowOptions::new(kernel_size) };
    let image = ImageShape { height, width, channels };
    ConvGeometry::new(batch_size, image, filters, groups, &window).expect("sizes that fit")
}

/// A pool over one image `[height, width, channels]`.
fn pool(
    [height, width, channels]: [usize; 3],
    kernel_size: [usize; 2],
    stride: usize,
    padding: usize,
) -> PoolGeometry {
    let window = WindowOptions {
        stride: [stride; 2],
        padding: Padding::Symmetric([padding; 2]),
        ..WindowOptions::new(kernel_size)
    };
    PoolGeometry::new(1, ImageShape { height, width, channels }, &window).expect("sizes that fit")
}

fn dense(batch_size: usize, in_features: usize, out_features: usize) -> DenseSize {
    DenseSize::new(batch_size, in_features, out_features).expect("sizes that fit")
}

/// One case of each operation whose sums can be arbitrarily long.
pub fn one_an_op() -> Vec<Case> {
    let window = pool([260, 261, 1], [260, 260], 1, 0);
    let normalised = BatchNormSize { rows: 140_001, channels: 2, epsilon: 0.5, affine: true };
    let mut cases = vec![
        Case::new("70,001 channels", ConvForward::new(conv([2, 1, 1, 70_001], 3, 1, [1, 1], 0))),
        Case::new("70,200 positions", ConvGradFilters::new(conv([1, 270, 260, 1], 9, 1, [3, 3], 1))),
        Case::new("70,001 filters", ConvGradInput::new(conv([2, 1, 1, 3], 70_001, 1, [1, 1], 0))),
        Case::new("70,001 features", DenseForward::new(dense(3, 70_001, 2))),
        Case::new("70,001 samples", DenseGradWeight::new(dense(70_001, 3, 2))),
        Case::new("70,001 results", DenseGradInput::new(dense(2, 3, 70_001))),
        Case::new("140,001 rows", BiasGrad::new(140_001, 2)),
        Case::new("70,001 rows", MultiplyGradFactors { samples: 2, rows: 70_001, channels: 2 }),
        Case::new("140,001 rows", PreluGradWeight { rows: 140_001, channels: 2 }),
        Case::new("140,001 rows", BatchNormTrain::new(normalised)),
        Case::new("140,001 rows", BatchNormGrad::new(normalised, false)),
    ];
    let size = GroupSize { samples: 1, rows: 35_001, channels: 4, groups: 1 };
    cases.extend([
        Case::new("140,004 values", GroupNormStatistics { size }),
        Case::new("140,004 values", GroupNormGradSums { size, epsilon: 0.5, affine: true }),
    ]);
    let size = GroupSize { samples: 2, rows: 70_001, channels: 2, groups: 2 };
    cases.push(Case::new("140,002 rows", GroupNormGradWeight { size, epsilon: 0.5 }));
    cases.extend(both_passes("67,600 taps", window));
    cases.extend(both_passes("67,600 taps, whole image", pool([260, 260, 2], [260, 260], 1, 0)));
    cases
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = one_an_op();
    let both = conv([1, 20, 20, 1], 170, 1, [20, 20], 19);
    cases.extend([
        Case::new("400 taps of 170 filters", ConvForward::new(both)),
        Case::new("400 taps of 170 filters", ConvGradFilters::new(both)),
        Case::new("400 taps of 170 filters", ConvGradInput::new(both)),
        Case::new("70,001 rows, one channel", BiasGrad::new(70_001, 1)),
    ]);
    // Without the gradient of the input: its windows would lie in the padding almost everywhere, which takes long and
    // proves little.
    for (name, geometry) in [
        ("68,644 taps", conv([1, 262, 263, 1], 3, 1, [262, 262], 0)),
        ("90,000 taps, depthwise", conv([1, 300, 300, 4], 4, 4, [300, 300], 0)),
        ("40,000 taps of 2 channels, 2 groups", conv([1, 200, 200, 4], 4, 2, [200, 200], 0)),
    ] {
        cases.push(Case::new(name, ConvForward::new(geometry)));
        cases.push(Case::new(name, ConvGradFilters::new(geometry)));
    }
    for (name, geometry) in [
        ("70,000 taps in a row", pool([1, 70_001, 1], [1, 70_000], 1, 0)),
        ("67,200 taps of 65 windows", pool([200, 400, 1], [200, 336], 1, 0)),
        ("90,000 taps, most in the padding", pool([150, 150, 1], [300, 300], 160, 150)),
    ] {
        cases.extend(both_passes(name, geometry));
    }
    cases
}
