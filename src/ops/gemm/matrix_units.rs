//! Launching `shaders/gemm/matrix_units.wgsl`: products on units that multiply small matrices of halves.
//!
//! No rule chooses these ways: they come after the best guess of every kind, so that only an executor that tunes uses them,
//! where they give the right answer and are faster.

use super::tiling::{Block, Cut, with_errands};
use super::{Product, TiledKernel};
use crate::device::{DeviceProfile, MatrixUnits};
use crate::ops::cost::{Cost, CostClass};
use crate::ops::kernel::{Implementation, shader};
use crate::ops::prologue::Prologue;

/// Blocks in which matrix units compute a product, each shared by so many subgroups along m and n.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tile {
    // With the sum over k in one piece, and in slices.
    names: [&'static str; 2],
    m: usize,
    n: usize,
    subgroups_m: usize,
    subgroups_n: usize,
    /// As [`Block::efficiency`]: above 1, since matrix units multiply halves many times as fast.
    efficiency: f64,
}

/// What the names of all implementations on matrix units begin with.
pub const MATRIX_UNITS: &str = "matrix_units_";

/// A tile as `tile!(m, n, subgroups_m, subgroups_n, efficiency)`.
macro_rules! tile {
    ($m:literal, $n:literal, $subgroups_m:literal, $subgroups_n:literal, $efficiency:literal) => {
        Tile {
            names: [concat!("matrix_units_", $m, "x", $n), concat!("matrix_units_", $m, "x", $n, "_split")],
            m: $m,
            n: $n,
            subgroups_m: $subgroups_m,
            subgroups_n: $subgroups_n,
            efficiency: $efficiency,
        }
    };
}

/// Efficiencies are guesses: no GPU has timed these kernels yet.
const TILES: [Tile; 4] = [
    tile!(128, 128, 2, 4, 2.0),
    tile!(128, 64, 4, 2, 1.7),
    tile!(64, 64, 2, 2, 1.5),
    tile!(32, 32, 2, 2, 0.8),
];

/// Terms of a step.
const TILE_K: usize = 16;

/// With fewer rows or columns than this, most of a tile would be idle.
const FEWEST_LINES: usize = 16;

/// The largest number of tiles that a product offers.
const MOST_TILES: usize = 2;

/// The largest number of iterations of a kernel's loops per k of a slice.
const TRIPS_OF_K: usize = 10;

/// How many times the rounding errors of sums in f32 the answers may have. The two halves of a value have 22 digits, and the
/// product of the low ones is left out: three errors of 2^-22 of a product, against [`f32::EPSILON`] = 2^-23.
const AMPLIFICATION: f64 = 6.0;

/// Bytes of workgroup memory that are neither tiles nor fragments of results.
const NOTES: usize = 64;

impl Tile {
    fn subgroups(&self) -> usize {
        self.subgroups_m * self.subgroups_n
    }

    fn block(&self, units: MatrixUnits) -> Block {
        let invocations = self.subgroups() * units.lanes as usize;
        Block { m: self.m, n: self.n, k: TILE_K, invocations, efficiency: self.efficiency }
    }

    /// Number of steps whose values are in workgroup memory at a time: two if there is room, otherwise one or none.
    fn tiles(&self, units: MatrixUnits, device: &DeviceProfile) -> usize {
        // Two halves of each value, and eight values of padding.
        let tile = 2 * 2 * TILE_K * (self.m + 8 + self.n + 8);
        let results = 4 * self.subgroups() * (units.lines * units.lines) as usize;
        let room = (device.max_workgroup_bytes as usize).saturating_sub(results + NOTES);
        (room / tile).min(2)
    }

    fn fits(&self, units: MatrixUnits, device: &DeviceProfile) -> bool {
        let invocations = self.block(units).invocations;
        let blocks = self.m.max(self.n) / 4 * (TILE_K / 4);
        let is_whole =
            |lines: usize, subgroups: usize| lines.is_multiple_of(subgroups * units.lines as usize);
        is_whole(self.m, self.subgroups_m)
            && is_whole(self.n, self.subgroups_n)
            && blocks <= invocations
            && invocations <= device.max_workgroup_invocations as usize
            && self.tiles(units, device) > 0
    }
}

/// The implementations of `kernel` on matrix units, best guess first; none if the device has no such units, or tiles do not pay
/// off.
pub fn implementations(
    product: &Product,
    device: &DeviceProfile,
    kernel: &TiledKernel,
) -> Vec<Implementation> {
    let Some(units) = device.matrix_units else { return Vec::new() };
    if product.m < FEWEST_LINES || product.n < FEWEST_LINES || kernel.winners.is_some() {
        return Vec::new();
    }
    let tiles = TILES.into_iter().filter(|tile| tile.fits(units, device));
    let mut cuts: Vec<(Tile, Cut)> =
        tiles.map(|tile| (tile, product.best_cut(&tile.block(units), device))).collect();
    cuts.retain(|(_, cut)| TRIPS_OF_K * product.k.div_ceil(cut.slices) <= device.loop_trips());
    cuts.sort_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
    cuts.truncate(MOST_TILES);
    let kernel = TiledKernel { column_moments: false, ..kernel.clone() };
    let way = |(tile, Cut { slices, cost }): (Tile, Cut)| {
        let mut main = shader!("gemm/matrix_units.wgsl").with_sizes(&[
            ("TILE_M", tile.m as u32),
            ("TILE_N", tile.n as u32),
            ("TILE_K", TILE_K as u32),
            ("SUBGROUPS_M", tile.subgroups_m as u32),
            ("SUBGROUPS_N", tile.subgroups_n as u32),
            ("LANES", units.lanes),
            ("TILES", tile.tiles(units, device) as u32),
        ]);
        main.enables = vec!["f16", "wgpu_cooperative_matrix"];
        let fragments = match (units.emulated, units.lines) {
            (true, _) => shader!("gemm/fragments_emulated.wgsl"),
            (false, 8) => shader!("gemm/fragments_8.wgsl", "gemm/fragments.wgsl"),
            (false, _) => shader!("gemm/fragments_16.wgsl", "gemm/fragments.wgsl"),
        };
        main.files.extend(fragments.files);
        if units.emulated {
            main.enables = vec!["f16"];
        }
        let [a, b] = kernel.factors.map(|operand| operand as u32);
        main.parts = vec![("B_PARTS", b)];
        match kernel.prologue == Prologue::NONE {
            true => main.parts.push(("A_PARTS", a)),
            // A half times a derivative is none.
            false => main = main.with_sizes(&[("A_PARTS", 2)]),
        }
        let name = tile.names[usize::from(slices > 1)];
        let block = [tile.m, tile.n, TILE_K];
        let way =
            product.implementation(name, &kernel, with_errands(main, kernel.quads), block, slices, device);
        let amplification = AMPLIFICATION;
        Implementation { amplification, ..way.at(Cost { class: CostClass::RunnerUp, time: cost }) }
    };
    cuts.into_iter().map(way).collect()
}
