//! Launching `shaders/gemm/tiled.wgsl`: products, in tiles, of matrices that need not exist in memory.

use super::slices::LONGEST_SLICE;
use super::tiling::{Block, Cut, with_errands};
use super::{Product, TiledKernel};
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::cost::{Cost, CostClass};
use crate::ops::kernel::{Implementation, shader};

/// Sizes of the blocks in which a product is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tile {
    // With the sum over k in one piece, and in slices.
    names: [&'static str; 2],
    // In one piece, with the moments of the results' columns; none where groups share them.
    with_moments: Option<&'static str>,
    m: usize,
    n: usize,
    k: usize,
    thread_m: usize,
    thread_n: usize,
    /// Groups of invocations that share the results: each multiplies its own part of a step's k, and their sums are added at the
    /// end ("slice-k").
    groups_of_k: usize,
    /// Expected share of the peak multiply-add rate that the tile reaches if all multiprocessors and all of the tile
    /// are busy; reads from workgroup memory and beyond cost the rest.
    efficiency: f64,
}

/// A tile as `tile!(m, n, k, thread_m, thread_n, efficiency)`.
macro_rules! tile {
    ($m:literal, $n:literal, $k:literal, $thread_m:literal, $thread_n:literal, $efficiency:literal) => {
        Tile {
            names: [concat!("tiled_", $m, "x", $n), concat!("tiled_", $m, "x", $n, "_split")],
            with_moments: Some(concat!("tiled_", $m, "x", $n, "_moments")),
            m: $m,
            n: $n,
            k: $k,
            thread_m: $thread_m,
            thread_n: $thread_n,
            groups_of_k: 1,
            efficiency: $efficiency,
        }
    };
}

const TILES: [Tile; 10] = [
    tile!(128, 128, 16, 8, 8, 0.80),
    tile!(128, 64, 16, 8, 8, 0.76),
    tile!(64, 128, 16, 8, 8, 0.76),
    tile!(64, 64, 16, 8, 4, 0.70),
    tile!(256, 32, 8, 8, 8, 0.64),
    tile!(256, 16, 8, 8, 4, 0.50),
    // For so few workgroups that a multiprocessor has one alone.
    Tile {
        names: ["tiled_256x16_slice_k", "tiled_256x16_slice_k_split"],
        with_moments: None,
        groups_of_k: 2,
        ..tile!(256, 16, 16, 8, 4, 0.50)
    },
    tile!(128, 32, 16, 8, 4, 0.60),
    tile!(32, 128, 16, 4, 8, 0.60),
    tile!(32, 32, 16, 4, 4, 0.40),
];

/// Columns of the widest of the large tiles, which comes first.
const MOST_COLUMNS: usize = TILES[0].n;

/// With fewer rows or columns than this, most of a tile would be idle, and other kernels are faster.
const FEWEST_LINES: usize = 8;

/// The largest number of tiles that a product offers: the best guess, and others that may turn out to be better.
const MOST_TILES: usize = 6;

/// Tiles that are expected to take longer than the best one by more than this factor are not worth a trial.
const WORTH_A_TRIAL: f64 = 3.0;

/// The largest number of iterations of a kernel's loops per k of a slice: one to multiply, the others to fetch.
const TRIPS_OF_K: usize = 2;

impl Tile {
    fn invocations(&self) -> usize {
        (self.m / self.thread_m) * (self.n / self.thread_n) * self.groups_of_k
    }

    fn block(&self) -> Block {
        Block {
            m: self.m,
            n: self.n,
            k: self.k,
            invocations: self.invocations(),
            efficiency: self.efficiency,
        }
    }

    /// Bytes of workgroup memory for the values of one step.
    fn workgroup_bytes(&self) -> usize {
        4 * self.k * (self.m + self.n)
    }

    /// Number of steps whose values are in workgroup memory at a time: two if there is room, so that the values of one
    /// step are fetched while those of another are multiplied.
    fn tiles(&self, device: &DeviceProfile) -> usize {
        (device.max_workgroup_bytes as usize / self.workgroup_bytes()).min(2)
    }

    fn fits(&self, device: &DeviceProfile) -> bool {
        self.invocations() <= device.max_workgroup_invocations as usize && self.tiles(device) > 0
    }
}

/// A way to compute a product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tiling {
    tile: Tile,
    cut: Cut,
}

impl Tiling {
    fn name(&self) -> &'static str {
        self.tile.names[usize::from(self.cut.slices > 1)]
    }
}

impl Product {
    /// Tiles for this product on `device`, best guess first; empty if tiles do not pay off.
    fn tilings(&self, device: &DeviceProfile) -> Vec<Tiling> {
        if self.m < FEWEST_LINES || self.n < FEWEST_LINES {
            return Vec::new();
        }
        let mut tilings = Vec::new();
        for tile in TILES.into_iter().filter(|tile| tile.fits(device)) {
            let best = self.best_cut(&tile.block(), device);
            if best.slices > 1 && self.k <= LONGEST_SLICE {
                tilings.push(Tiling { tile, cut: self.cut(&tile.block(), 1, device) });
            }
            tilings.push(Tiling { tile, cut: best });
        }
        tilings.retain(|&Tiling { tile, cut }| {
            let trips = TRIPS_OF_K * self.k.div_ceil(cut.slices);
            // Where a multiprocessor has several workgroups, they hide each other's latency without groups.
            let suits = tile.groups_of_k == 1 || self.rounds(&tile.block(), cut.slices, device) == 1;
            trips <= device.loop_trips() && suits
        });
        tilings.sort_by(|a, b| a.cut.cost.total_cmp(&b.cut.cost));
        let worth = tilings.first().map_or(0.0, |best| WORTH_A_TRIAL * best.cut.cost);
        tilings.retain(|tiling| tiling.cut.cost <= worth);
        // A software rasteriser has better kernels than these, and compiles large ones slowly.
        tilings.truncate(if device.kind == DeviceKind::Software { 1 } else { MOST_TILES });
        tilings
    }

    /// Expected time of the best guess, in multiply-adds of one multiprocessor; `None` if tiles do not pay off.
    pub fn cost(&self, device: &DeviceProfile) -> Option<f64> {
        self.tilings(device).first().map(|tiling| tiling.cut.cost)
    }
}

/// How often a product with this many columns reads each value of a from memory: once for each tile along n.
pub fn reads_of_a(columns: usize) -> usize {
    columns.div_ceil(MOST_COLUMNS)
}

/// The tiled implementations of `kernel`, best guess first; empty if tiles do not pay off. Where the moments of columns are
/// wanted, those without slices come with them and without; where windows are to be reduced, there are no others.
pub fn implementations(
    product: &Product,
    device: &DeviceProfile,
    kernel: &TiledKernel,
) -> Vec<Implementation> {
    let plain = TiledKernel { column_moments: false, ..kernel.clone() };
    let mut tilings = product.tilings(device);
    tilings.retain(|tiling| tiling.cut.slices == 1 || kernel.winners.is_none());
    let ways = tilings.into_iter().flat_map(|tiling| {
        let Tiling { tile, cut: Cut { slices, cost } } = tiling;
        let main = shader!("gemm/tiled.wgsl").with_sizes(&[
            ("TILE_M", tile.m as u32),
            ("TILE_N", tile.n as u32),
            ("TILE_K", tile.k as u32),
            ("THREAD_M", tile.thread_m as u32),
            ("THREAD_N", tile.thread_n as u32),
            ("GROUPS_OF_K", tile.groups_of_k as u32),
            ("TILES", tile.tiles(device) as u32),
        ]);
        let main = with_errands(main, kernel.quads);
        let way = |name, kernel| {
            let way =
                product.implementation(name, kernel, main.clone(), [tile.m, tile.n, tile.k], slices, device);
            way.at(Cost { class: CostClass::RunnerUp, time: cost })
        };
        let with_moments = tile.with_moments.filter(|_| kernel.column_moments && slices == 1);
        let with_moments = with_moments.map(|name| way(name, kernel));
        with_moments.into_iter().chain([way(tiling.name(), &plain)])
    });
    ways.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of invocations share the results of a narrow product in one piece where its tiles are fewer than multiprocessors,
    /// instead of slices that a second launch adds.
    #[test]
    fn groups_share_tiles_where_multiprocessors_have_one_each() {
        let device = DeviceProfile {
            kind: DeviceKind::DiscreteGpu,
            multiprocessors: Some(132),
            max_workgroup_bytes: 48 << 10,
            max_workgroup_invocations: 1024,
            ..DeviceProfile::portable()
        };
        let names = |m, device: &DeviceProfile| -> Vec<&str> {
            Product { m, n: 16, k: 800, parts: 1 }.tilings(device).iter().map(Tiling::name).collect()
        };
        assert_eq!(names(128 * 14 * 14, &device)[0], "tiled_256x16_slice_k");
        let with_groups = |name: &&str| name.contains("slice_k");
        assert!(!names(133 * 256, &device).iter().any(with_groups), "two rounds");
        let small = DeviceProfile { max_workgroup_bytes: 16 << 10, ..device };
        assert!(!names(128 * 14 * 14, &small).iter().any(with_groups), "too little workgroup memory");
    }
}
