//! Launching `shaders/gemm`: matrix products in tiles, whatever the matrices are made of.

mod subgroup;

use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{
    Binding, Constant, FROM_THE_FIRST_WORKGROUP, Implementation, KernelCall, MAX_WORKGROUPS_PER_AXIS, Source,
    grid, shader,
};
use crate::ops::prologue::Prologue;

/// A product `result[m,n] = sum over k of a(m,k) * b(k,n)`, done `parts` times over different data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Independent products side by side.
    pub parts: usize,
}

/// What an operation brings to `gemm/tiled.wgsl`.
#[derive(Clone, Debug, PartialEq)]
pub struct TiledKernel {
    /// Where the values lie: `a_line`, `a_step`, `a_present`, `a_packet`, likewise `b`, and `store`.
    pub source: Source,
    /// The overrides that the source declares.
    pub constants: Vec<(&'static str, Constant)>,
    /// Operands, bound in order.
    pub operands: usize,
    /// Number of the operand that is the result.
    pub result: usize,
    /// Its elements.
    pub elements: usize,
    /// What can be read and written four values at a time.
    pub quads: Quads,
    /// What values of a are multiplied by before they are used; its operand comes after `operands`.
    pub prologue: Prologue,
    /// What happens to results before they are stored, for a source that passes them through
    /// `finish_packet`; its operand comes after `operands`.
    pub epilogue: Option<Epilogue>,
}

/// Whether values lie in memory in fours, at offsets that are multiples of four, along the axis that is
/// contiguous: 16-byte loads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quads {
    /// Of a.
    pub a: bool,
    /// Of b.
    pub b: bool,
    /// Of the result, whose contiguous axis is n.
    pub result: bool,
}

/// Sizes of the blocks in which a product is done.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tile {
    // With the sum over k in one piece, and in slices.
    names: [&'static str; 2],
    m: usize,
    n: usize,
    k: usize,
    thread_m: usize,
    thread_n: usize,
    /// Expected share of the multiply-add rate that the tile reaches on a GPU whose multiprocessors are all
    /// busy, when nothing of it is idle: what it reads from workgroup memory and beyond costs the rest.
    efficiency: f64,
}

/// A tile as `tile!(m, n, k, thread_m, thread_n, efficiency)`.
macro_rules! tile {
    ($m:literal, $n:literal, $k:literal, $thread_m:literal, $thread_n:literal, $efficiency:literal) => {
        Tile {
            names: [concat!("tiled_", $m, "x", $n), concat!("tiled_", $m, "x", $n, "_split")],
            m: $m,
            n: $n,
            k: $k,
            thread_m: $thread_m,
            thread_n: $thread_n,
            efficiency: $efficiency,
        }
    };
}

const TILES: [Tile; 7] = [
    tile!(128, 128, 16, 8, 8, 0.80),
    tile!(128, 64, 16, 8, 8, 0.76),
    tile!(64, 128, 16, 8, 8, 0.76),
    tile!(64, 64, 16, 8, 4, 0.70),
    tile!(128, 32, 16, 8, 4, 0.60),
    tile!(32, 128, 16, 4, 8, 0.60),
    tile!(32, 32, 16, 4, 4, 0.40),
];

/// Below this many rows or columns most of a tile would be idle, and other kernels do better.
const FEWEST_LINES: usize = 8;

/// Tiles that a product offers, at most: the best guess and what may turn out better.
const MOST_TILES: usize = 4;

/// Tiles that are expected to take longer than the best one by more than this factor are not worth a trial.
const WORTH_A_TRIAL: f64 = 3.0;

/// Multiply-adds that a GPU does while one f32 travels to memory or back: about 30 operations a byte lie between
/// the rates of today's GPUs, in f32, and their memories' bandwidth.
pub const MULTIPLY_ADDS_PER_ELEMENT: f64 = 40.0;

/// What a launch and the wait for the one before it cost, in multiply-adds of one multiprocessor: some 2 us.
pub const LAUNCH: f64 = 500e3;

/// Invocations of a multiprocessor that hide each other's waits.
const ENOUGH_INVOCATIONS: f64 = 256.0;

/// What a workgroup does before its first step and after its last one, in steps.
const STEPS_AROUND: usize = 2;

/// Slices are made for rounds of workgroups up to this number: more rounds waste little of their last one anyway.
const MOST_ROUNDS: usize = 8;

/// Shorter slices than this cost more in their second pass than they gain.
const SHORTEST_SLICE: usize = 128;

/// Longer sums than this are cut where they can be: they lose digits, and some drivers leave a loop that takes too
/// long.
const LONGEST_SLICE: usize = 16 << 10;

/// Iterations of a kernel's loops for each of the k of a slice, at most: one to multiply, the others to fetch.
const TRIPS_OF_K: usize = 2;

impl Tile {
    fn invocations(&self) -> usize {
        (self.m / self.thread_m) * (self.n / self.thread_n)
    }

    /// Of the values of one step.
    fn workgroup_bytes(&self) -> usize {
        4 * self.k * (self.m + self.n)
    }

    /// How often the values of a step find room in workgroup memory: twice where it does, so that one step's are
    /// fetched while another's are multiplied.
    fn tiles(&self, device: &DeviceProfile) -> usize {
        (device.max_workgroup_bytes as usize / self.workgroup_bytes()).min(2)
    }

    fn fits(&self, device: &DeviceProfile) -> bool {
        self.invocations() <= device.max_workgroup_invocations as usize && self.tiles(device) > 0
    }
}

/// A way to do a product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tiling {
    tile: Tile,
    slices: usize,
    /// Expected time, in multiply-adds of one multiprocessor.
    cost: f64,
}

impl Tiling {
    fn name(&self) -> &'static str {
        self.tile.names[usize::from(self.slices > 1)]
    }
}

impl Product {
    fn workgroups(&self, tile: &Tile) -> usize {
        self.m.div_ceil(tile.m) * self.n.div_ceil(tile.n) * self.parts
    }

    /// `tile` with `slices`, and what that is expected to cost: workgroups run in rounds of one a multiprocessor,
    /// each with some steps before and after its sums, and a second pass writes and reads the slices.
    fn tiling(&self, tile: Tile, slices: usize, multiprocessors: usize) -> Tiling {
        let rounds = (self.workgroups(&tile) * slices).div_ceil(multiprocessors);
        let busy = f64::min(1.0, (rounds * tile.invocations()) as f64 / ENOUGH_INVOCATIONS);
        let steps = self.k.div_ceil(slices).div_ceil(tile.k) + STEPS_AROUND;
        let products = (rounds * tile.m * tile.n * tile.k * steps) as f64 / (tile.efficiency * busy);
        let second_pass = match slices {
            1 => 0.0,
            _ => {
                let moved = self.m * self.n * self.parts * (2 * slices + 1);
                LAUNCH + moved as f64 * MULTIPLY_ADDS_PER_ELEMENT / multiprocessors as f64
            }
        };
        Tiling { tile, slices, cost: products + second_pass }
    }

    /// `tile` with the number of slices that is expected to be best: as far as k is long enough and memory lasts,
    /// workgroups fill whole rounds, since a last one that is almost empty takes as long as a full one.
    fn sliced(&self, tile: Tile, device: &DeviceProfile, multiprocessors: usize) -> Tiling {
        let elements = self.m * self.n * self.parts;
        let numbers = (0..=MOST_ROUNDS).map(|rounds| {
            let wanted = (rounds * multiprocessors / self.workgroups(&tile)).min(self.k / SHORTEST_SLICE);
            slices(wanted, self.k, elements, device)
        });
        let tilings = numbers.map(|slices| self.tiling(tile, slices, multiprocessors));
        tilings.min_by(|a, b| a.cost.total_cmp(&b.cost)).expect("a number of slices")
    }

    /// Tiles for this product on `device`, best guess first; none where tiles do not pay.
    fn tilings(&self, device: &DeviceProfile) -> Vec<Tiling> {
        if self.m < FEWEST_LINES || self.n < FEWEST_LINES {
            return Vec::new();
        }
        let multiprocessors = multiprocessors(device);
        let mut tilings = Vec::new();
        for tile in TILES.into_iter().filter(|tile| tile.fits(device)) {
            let best = self.sliced(tile, device, multiprocessors);
            if best.slices > 1 && self.k <= LONGEST_SLICE {
                tilings.push(self.tiling(tile, 1, multiprocessors));
            }
            tilings.push(best);
        }
        tilings.retain(|tiling| {
            let trips = TRIPS_OF_K * self.k.div_ceil(tiling.slices);
            self.parts * tiling.slices <= MAX_WORKGROUPS_PER_AXIS as usize && trips <= device.loop_trips()
        });
        tilings.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let worth = tilings.first().map_or(0.0, |best| WORTH_A_TRIAL * best.cost);
        tilings.retain(|tiling| tiling.cost <= worth);
        // A software rasteriser has better kernels than these, and compiles large ones slowly.
        tilings.truncate(if device.kind == DeviceKind::Software { 1 } else { MOST_TILES });
        tilings
    }

    /// Expected time of the best guess, in multiply-adds of one multiprocessor; none where tiles do not pay.
    pub fn cost(&self, device: &DeviceProfile) -> Option<f64> {
        self.tilings(device).first().map(|tiling| tiling.cost)
    }

    /// Ways to compute this product with `kernel`, best guess first; none where tiles do not pay.
    ///
    /// The kernel writes `[SLICES, result]`: where sums over k are long and workgroups few, k is cut into slices,
    /// each summed on its own, and a second pass adds the slices in a fixed order.
    pub fn implementations(&self, device: &DeviceProfile, kernel: &TiledKernel) -> Vec<Implementation> {
        let tiled = self.tilings(device).into_iter().map(|tiling| {
            let Tiling { tile, slices, .. } = tiling;
            let Quads { a, b, .. } = kernel.quads;
            let mut main = shader!("gemm/tiled.wgsl").with_sizes(&[
                ("TILE_M", tile.m as u32),
                ("TILE_N", tile.n as u32),
                ("TILE_K", tile.k as u32),
                ("THREAD_M", tile.thread_m as u32),
                ("THREAD_N", tile.thread_n as u32),
                ("TILES", tile.tiles(device) as u32),
            ]);
            main.files
                .extend(if a { shader!("gemm/a_quads.wgsl") } else { shader!("gemm/a_scalars.wgsl") }.files);
            main.files
                .extend(if b { shader!("gemm/b_quads.wgsl") } else { shader!("gemm/b_scalars.wgsl") }.files);
            self.implementation(tiling.name(), kernel, main, [tile.m, tile.n, tile.k], slices)
        });
        subgroup::implementation(self, device, kernel).into_iter().chain(tiled).collect()
    }

    /// The implementation of this name: `kernel` with the program `main`, which does the product in blocks of
    /// m, n and k.
    pub(super) fn implementation(
        &self,
        name: &'static str,
        kernel: &TiledKernel,
        main: Source,
        block: [usize; 3],
        slices: usize,
    ) -> Implementation {
        let operands = kernel.operands;
        let mut call = self.call(kernel, main, block, slices);
        kernel.prologue.complete_product(&mut call, operands);
        let Some(epilogue) = kernel.epilogue else {
            return in_slices(name, vec![call], kernel.result, kernel.elements, slices);
        };
        call.source.files.extend(match kernel.quads.result {
            true => shader!("epilogue/quads.wgsl").files,
            false => shader!("epilogue/scalars.wgsl").files,
        });
        if slices == 1 {
            epilogue.complete(&mut call, operands);
            return Implementation::of(name, call);
        }
        // What a slice sums is no result yet.
        Epilogue::NONE.complete(&mut call, operands);
        let mut sum = unfinished_sum_slices(kernel.elements, slices, self.n * self.parts);
        epilogue.complete(&mut sum, operands);
        two_passes(name, vec![call], sum, kernel.result, slices * kernel.elements)
    }

    fn call(&self, kernel: &TiledKernel, main: Source, block: [usize; 3], slices: usize) -> KernelCall {
        let [block_m, block_n, block_k] = block;
        let slice_k = self.k.div_ceil(slices).next_multiple_of(block_k);
        let results = match kernel.quads.result {
            true => shader!("gemm/result_quads.wgsl"),
            false => shader!("gemm/result_scalars.wgsl"),
        };
        let shared = shader!("gemm/product.wgsl", "grid.wgsl");
        let mut source = kernel.source.clone().with_sizes(&main.sizes);
        source.files.extend([main, results, shared].into_iter().flat_map(|source| source.files));
        let mut constants = kernel.constants.clone();
        constants.extend([
            FROM_THE_FIRST_WORKGROUP,
            ("GEMM_M", self.m.into()),
            ("GEMM_N", self.n.into()),
            ("GEMM_K", self.k.into()),
            ("SLICES", slices.into()),
            ("SLICE_K", slice_k.into()),
        ]);
        let [x, y, _] = grid(self.m.div_ceil(block_m) * self.n.div_ceil(block_n));
        let workgroups = [x, y, (self.parts * slices) as u32];
        KernelCall { source, constants, bindings: Binding::operands(kernel.operands), workgroups }
    }
}

/// Multiprocessors of a device, or as many as devices of its kind have.
pub fn multiprocessors(device: &DeviceProfile) -> usize {
    match (device.multiprocessors, device.kind) {
        (Some(known), _) => known as usize,
        (None, DeviceKind::DiscreteGpu | DeviceKind::VirtualGpu) => 64,
        (None, DeviceKind::IntegratedGpu | DeviceKind::Other) => 16,
        (None, DeviceKind::Software) => 2,
    }
}

/// Slices for sums of `length` terms: `wanted`, or more where they would be too long, and at least one; fewer
/// where there is no room for the slices of all `elements` sums.
pub fn slices(wanted: usize, length: usize, elements: usize, device: &DeviceProfile) -> usize {
    wanted.max(length.div_ceil(LONGEST_SLICE)).min(most_slices(elements, device)).max(1)
}

/// Slices of `elements` sums that fit a buffer, within reach of indices of 32 bits, and that a loop can add up.
pub fn most_slices(elements: usize, device: &DeviceProfile) -> usize {
    let room = (device.max_binding_bytes / 4).min(u32::MAX.into()) as usize / elements;
    room.min(device.loop_trips())
}

/// An implementation whose `calls` write `slices` partial sums of its `elements` results, the operand of number
/// `result`, and a last one adds them up.
pub fn in_slices(
    name: &'static str,
    calls: Vec<KernelCall>,
    result: usize,
    elements: usize,
    slices: usize,
) -> Implementation {
    if slices == 1 {
        return Implementation::of_calls(name, calls, Vec::new());
    }
    two_passes(name, calls, sum_slices(elements, slices), result, slices * elements)
}

/// `calls`, which write slices of the operand of number `result`, and `sum`, which adds them up.
fn two_passes(
    name: &'static str,
    mut calls: Vec<KernelCall>,
    mut sum: KernelCall,
    result: usize,
    partial_sums: usize,
) -> Implementation {
    for call in &mut calls {
        call.bindings[result] = Binding::Workspace(0);
    }
    sum.bindings[..2].copy_from_slice(&[Binding::Workspace(0), Binding::Operand(result)]);
    calls.push(sum);
    Implementation::of_calls(name, calls, vec![partial_sums])
}

/// The second pass of a split sum: `result[i] = sum over slices of slices[slice][i]`; binds the slices and
/// the result, in that order.
pub fn sum_slices(elements: usize, slices: usize) -> KernelCall {
    let mut call = unfinished_sum_slices(elements, slices, 1);
    Epilogue::NONE.complete(&mut call, 0);
    call
}

/// The same for a result `[..,channels]`, which is still to be completed by an epilogue.
fn unfinished_sum_slices(elements: usize, slices: usize, channels: usize) -> KernelCall {
    let constants =
        vec![("ELEMENTS", elements.into()), ("CHANNELS", channels.into()), ("SLICES", slices.into())];
    KernelCall::elementwise(shader!("gemm/sum_slices.wgsl", "grid.wgsl"), constants, 2, elements)
}
