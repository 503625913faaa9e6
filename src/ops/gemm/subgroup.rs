//! Launching `shaders/gemm/subgroup.wgsl`: matrix products for software rasterisers.
//!
//! A rasteriser such as Mesa's llvmpipe runs eight invocations with one vector instruction. It splits a load into one
//! per lane, each with a branch, from buffers and workgroup memory alike: a load of four values per lane costs as much
//! as fifty multiply-adds or more. This kernel therefore keeps a large block of results in registers, and each lane
//! fetches its share of b and passes it to the others, which takes one instruction per value.

use super::{Product, TiledKernel, slices};
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::cost::{Cost, CostClass};
use crate::ops::kernel::{Implementation, shader};

/// Number of invocations that exchange values: the lanes of a vector instruction.
const LANES: usize = 8;

/// Rows of a tile: four per lane.
const TILE_M: usize = 4 * LANES;

/// Names and numbers of columns of the tiles.
const TILES: [(&str, usize); 3] = [("subgroup_32x32", 32), ("subgroup_32x16", 16), ("subgroup_32x8", 8)];

/// Cost of fetching a's block of a tile, relative to that of fetching and multiplying a column of b.
const FETCH_A: usize = 16;

/// Number of workgroups that keep the cores of a CPU busy with about equal load.
const ENOUGH_WORKGROUPS: usize = 16;

/// Shorter slices than this cost more in their second pass than they gain.
const SHORTEST_SLICE: usize = 256;

/// With sums shorter than this, a tile with one column does not pay off.
const SHORTEST_LONELY_SUM: usize = 32;

/// The longest slice of a sum: the values that all tiles of a slice read stay in a core's cache until the last tile is
/// done.
const LONGEST_SLICE: usize = 2048;

/// The smallest number of k in an iteration of a kernel's loop.
const SHORTEST_STEP: usize = 4;

/// The implementation of `kernel` that is best on a software rasteriser; `None` on other devices.
pub fn implementation(
    product: &Product,
    device: &DeviceProfile,
    kernel: &TiledKernel,
) -> Option<Implementation> {
    if device.kind != DeviceKind::Software || (device.min_subgroup_size as usize) < LANES {
        return None;
    }
    if kernel.winners.is_some() {
        return None;
    }
    if product.n == 1 && product.k < SHORTEST_LONELY_SUM {
        return None;
    }
    let cost = |tile_n: usize| product.n.div_ceil(tile_n) * (FETCH_A + tile_n);
    let (name, tile_n) = TILES.into_iter().min_by_key(|&(_, tile_n)| cost(tile_n)).expect("there are tiles");
    let workgroups = product.m.div_ceil(TILE_M) * product.n.div_ceil(tile_n) * product.parts;
    let wanted = ENOUGH_WORKGROUPS.div_ceil(workgroups).min(product.k / SHORTEST_SLICE);
    let wanted = wanted.max(product.k.div_ceil(LONGEST_SLICE));
    let slices = slices(wanted, product.k, kernel.elements, device);
    let trips = product.k.div_ceil(slices) / SHORTEST_STEP;
    if trips > device.loop_trips() {
        return None;
    }
    let mut main = shader!("gemm/subgroup.wgsl").with_sizes(&[("TILE_N", tile_n as u32)]);
    main.files.extend(match kernel.quads.a {
        true => shader!("gemm/subgroup_a_quads.wgsl").files,
        false => shader!("gemm/subgroup_a_scalars.wgsl").files,
    });
    main.files.extend(match kernel.quads.b {
        true => shader!("gemm/subgroup_b_quads.wgsl").files,
        false => shader!("gemm/subgroup_b_scalars.wgsl").files,
    });
    // Columns that a tile does not have are steps of k that its lanes fetch ahead.
    let block = [TILE_M, tile_n, 4 * 4 * LANES / tile_n];
    // No rule knows its time, but that it takes no longer than the best tile.
    let time = product.cost(device).unwrap_or(f64::INFINITY);
    let cost = Cost { class: CostClass::BestOfKind, time };
    // Its invocations share what they fetch in registers: none has a whole line of a, or of the result.
    let kernel = TiledKernel { line_sums: None, column_moments: false, ..kernel.clone() };
    Some(product.implementation(name, &kernel, main, block, slices, device).at(cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gemm::Quads;
    use crate::ops::prologue::Prologue;

    const PRODUCT: Product = Product { m: 100, n: 100, k: 100, parts: 1 };

    fn rasteriser(min_subgroup_size: u32) -> DeviceProfile {
        DeviceProfile {
            kind: DeviceKind::Software,
            min_subgroup_size,
            max_loop_trips: Some(32_000),
            ..DeviceProfile::portable()
        }
    }

    fn found(product: Product, device: &DeviceProfile) -> Option<Implementation> {
        let kernel = TiledKernel {
            source: shader!("dense/forward_tiled.wgsl", "dense/size.wgsl"),
            constants: Vec::new(),
            operands: 3,
            factors: [0, 1],
            result: 2,
            elements: product.m * product.n * product.parts,
            quads: Quads { a: true, b: true, result: true },
            prologue: Prologue::NONE,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: None,
            store: None,
        };
        implementation(&product, device, &kernel)
    }

    #[test]
    fn only_a_rasteriser_whose_subgroups_hold_a_workgroup_takes_it() {
        assert!(found(PRODUCT, &rasteriser(8)).is_some());
        assert!(found(PRODUCT, &rasteriser(16)).is_some());
        assert_eq!(found(PRODUCT, &rasteriser(4)), None);
        assert_eq!(found(PRODUCT, &rasteriser(0)), None);
        let gpu = DeviceProfile { kind: DeviceKind::DiscreteGpu, ..rasteriser(32) };
        assert_eq!(found(PRODUCT, &gpu), None);
    }

    #[test]
    fn a_tile_is_as_wide_as_its_columns_need() {
        for (n, name) in [(1, "subgroup_32x8"), (8, "subgroup_32x8"), (10, "subgroup_32x16")] {
            assert_eq!(found(Product { n, ..PRODUCT }, &rasteriser(8)).unwrap().name, name);
        }
        for (n, name) in [(16, "subgroup_32x16"), (17, "subgroup_32x32"), (1000, "subgroup_32x32")] {
            assert_eq!(found(Product { n, ..PRODUCT }, &rasteriser(8)).unwrap().name, name);
        }
    }

    #[test]
    fn long_sums_are_cut_and_never_so_few_that_a_loop_runs_out() {
        let passes = |product: Product| found(product, &rasteriser(8)).map(|found| found.calls.len());
        assert_eq!(passes(Product { m: 1000, ..PRODUCT }), Some(1));
        // One tile for many cores.
        assert_eq!(passes(Product { m: 32, n: 32, k: 2000, parts: 1 }), Some(2));
        // Enough tiles, but more than a cache holds.
        assert_eq!(passes(Product { m: 1000, k: 5000, ..PRODUCT }), Some(2));
        // The slices of so many results do not fit a buffer.
        assert_eq!(passes(Product { m: 1 << 15, n: 1 << 10, k: 1 << 18, parts: 1 }), None);
    }
}
