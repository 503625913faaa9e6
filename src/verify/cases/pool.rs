//! Pools that other software has got wrong: windows that overlap, leave gaps or extend past the edge.

use crate::Result;
use crate::ops::Prologue;
use crate::ops::activation::Activation;
use crate::ops::pool::{MaxUnpool, PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::ops::window::{Padding, WindowOptions};
use crate::tensor::ImageShape;

use super::Case;

/// Every kind of pool.
pub const KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Average, PoolKind::AverageInside];

/// Both passes of every kind of pool over these sizes.
pub fn both_passes(name: &str, geometry: PoolGeometry) -> impl Iterator<Item = Case> + use<> {
    let name = name.to_string();
    KINDS.into_iter().flat_map(move |kind| {
        let name = described(&name, kind);
        [Case::new(&name, PoolForward { kind, geometry }), Case::new(&name, PoolGrad::new(kind, geometry))]
    })
}

/// The name of a case of this kind, unlike those of the others.
fn described(name: &str, kind: PoolKind) -> String {
    let rest = if kind == PoolKind::AverageInside { ", padding left out" } else { "" };
    format!("{name}{rest}")
}

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
        ("whole image, fewer lanes than rows", [2, 23, 20, 100], [23, 20], [1, 1], [1, 1], both(0)),
        ("whole image, one channel", [3, 24, 13, 1], [24, 13], [1, 1], [1, 1], both(0)),
        ("whole image, more channels than a workgroup", [2, 6, 6, 300], [6, 6], [6, 6], [1, 1], both(0)),
        ("one channel, ragged", [5, 9, 23, 1], [2, 2], [2, 2], [1, 1], both(0)),
    ];
    let in_ceil_mode: Vec<Row> = vec![
        ("keeps the tail", [2, 7, 9, 5], [2, 2], [2, 2], [1, 1], both(0)),
        ("keeps a tail of padding and input", [2, 6, 7, 4], [3, 3], [2, 3], [1, 1], both(1)),
        ("a window behind the input", [2, 6, 7, 3], [2, 2], [3, 4], [1, 1], both(1)),
        ("dilation over the edge", [1, 9, 8, 3], [3, 2], [4, 3], [2, 3], both(1)),
        ("larger than the padded input", [2, 3, 4, 3], [5, 7], [4, 3], [1, 1], sides(0, 0, 1, 0)),
        ("lopsided, over the edge", [2, 8, 7, 3], [3, 4], [3, 3], [1, 1], sides(2, 1, 0, 2)),
    ];
    type Geometry = fn(usize, ImageShape, &WindowOptions) -> Result<PoolGeometry>;
    let geometries = |rows: Vec<Row>, geometry: Geometry| {
        rows.into_iter().map(
            move |(name, [batch_size, height, width, channels], kernel_size, stride, dilation, padding)| {
                let image = ImageShape { height, width, channels };
                let window = WindowOptions { kernel_size, stride, dilation, padding };
                let geometry = geometry(batch_size, image, &window);
                (name, geometry.unwrap_or_else(|error| panic!("{name}: {error}")))
            },
        )
    };
    geometries(rows, PoolGeometry::new).chain(geometries(in_ceil_mode, PoolGeometry::in_ceil_mode)).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, geometry) in geometries() {
        cases.extend(both_passes(name, geometry));
        for activation in [Activation::Relu, Activation::LeakyRelu { slope: 0.25 }, Activation::Tanh] {
            let through = PoolGrad::new(PoolKind::Max, geometry).through(activation);
            cases.extend(through.map(|op| Case::new(format!("{name}, {}", activation.name()), op)));
        }
        let pool = PoolForward { kind: PoolKind::Max, geometry };
        for activation in [None, Some(Activation::Relu), Some(Activation::Tanh)] {
            let prologue = activation.map_or(Some(Prologue::NONE), Prologue::of);
            let unpool = prologue.and_then(|prologue| MaxUnpool::new(&pool, prologue));
            let after = activation.map_or(String::new(), |activation| format!(", {}", activation.name()));
            cases.extend(unpool.map(|op| Case::new(format!("{name}{after}"), op)));
        }
    }
    cases
}
