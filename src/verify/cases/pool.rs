//! Pools that other software has got wrong: windows that overlap, leave gaps or extend past the edge.

use crate::ops::activation::Activation;
use crate::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::ops::window::{Padding, WindowOptions};
use crate::tensor::ImageShape;

use super::Case;

/// Every kind of pool.
pub const KINDS: [PoolKind; 2] = [PoolKind::Max, PoolKind::Average];

/// Geometries, each with a name that says what it tests.
pub fn geometries() -> Vec<(&'static str, PoolGeometry)> {
    let sides = |top, bottom, left, right| Padding::Sides { top, bottom, left, right };
    let both = |padding| Padding::Symmetric([padding; 2]);
    // name, [batch, height, width, channels], kernel, stride, dilation, padding
    type Row = (&'static str, [usize; 4], [usize; 2], [usize; 2], [usize; 2], Padding);
    let rows: Vec<Row> = vec![
        ("one value", [1, 1, 1, 1], [1, 1], [1, 1], [1, 1], both(0)),
        ("halves", [3, 12, 12, 16], [2, 2], [2, 2], [1, 1], both(0)),
        ("drops the tail", [2, 7, 9, 5], [2, 2], [2, 2], [1, 1], both(0)),
        ("overlapping", [2, 13, 13, 6], [3, 3], [2, 2], [1, 1], both(0)),
        ("overlapping with padding", [2, 12, 11, 6], [3, 3], [2, 2], [1, 1], both(1)),
        ("every position", [1, 6, 7, 3], [3, 3], [1, 1], [1, 1], Padding::Same),
        ("even kernel, same", [2, 7, 6, 4], [2, 4], [1, 1], [1, 1], Padding::Same),
        ("stride beyond the kernel", [2, 11, 12, 4], [2, 2], [3, 5], [1, 1], both(0)),
        ("not square", [2, 6, 15, 3], [2, 3], [1, 3], [1, 1], Padding::Symmetric([1, 1])),
        ("four different sides", [2, 7, 8, 3], [4, 4], [2, 3], [1, 1], sides(0, 2, 3, 1)),
        ("dilation", [2, 10, 11, 4], [2, 3], [1, 2], [3, 2], both(1)),
        ("whole image", [3, 7, 7, 10], [7, 7], [1, 1], [1, 1], both(0)),
        ("one channel, ragged", [5, 9, 23, 1], [2, 2], [2, 2], [1, 1], both(0)),
    ];
    rows.into_iter()
        .map(|(name, [batch_size, height, width, channels], kernel_size, stride, dilation, padding)| {
            let image = ImageShape { height, width, channels };
            let window = WindowOptions { kernel_size, stride, dilation, padding };
            let geometry = PoolGeometry::new(batch_size, image, &window);
            (name, geometry.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, geometry) in geometries() {
        for kind in KINDS {
            cases.push(Case::new(name, PoolForward { kind, geometry }));
            cases.push(Case::new(name, PoolGrad::new(kind, geometry)));
            for activation in [Activation::Relu, Activation::LeakyRelu { slope: 0.25 }, Activation::Tanh] {
                let through = PoolGrad::new(kind, geometry).through(activation);
                cases.extend(through.map(|op| Case::new(format!("{name}, {}", activation.name()), op)));
            }
        }
    }
    cases
}
