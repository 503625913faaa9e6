//! Launching `shaders/gemm`: matrix products in tiles, whatever the matrices are made of.

use super::kernel::{
    Binding, Constant, Implementation, KernelCall, MAX_WORKGROUPS_PER_AXIS, Source, grid, shader,
};
use crate::device::{DeviceKind, DeviceProfile};

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

/// Sizes of the blocks in which a product is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
    thread_m: usize,
    thread_n: usize,
}

/// Largest first. A product takes the largest tile that leaves the device enough workgroups.
const TILES: [Tile; 2] = [
    Tile { name: "tiled_64x64", m: 64, n: 64, k: 16, thread_m: 4, thread_n: 4 },
    Tile { name: "tiled_32x32", m: 32, n: 32, k: 16, thread_m: 4, thread_n: 4 },
];

/// For software rasterisers: eight invocations are one vector of the CPU, so that barriers cost nothing, and
/// many results an invocation make up for the price of a load.
const SOFTWARE_TILE: Tile = Tile { name: "tiled_32x16", m: 32, n: 16, k: 16, thread_m: 8, thread_n: 8 };

/// Below this many columns most of a tile would be idle, and the direct kernel does better.
const FEWEST_COLUMNS: usize = 8;

/// Workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 256;

/// Shorter slices than this cost more in their second pass than they gain.
const SHORTEST_SLICE: usize = 256;

/// Longer sums than this are cut where they can be: Mesa's software driver leaves an invocation's loops after
/// 65,535 iterations in all, without a word, and long sums lose digits.
const LONGEST_SLICE: usize = 16 << 10;

impl Tile {
    fn invocations(&self) -> usize {
        (self.m / self.thread_m) * (self.n / self.thread_n)
    }

    fn workgroup_bytes(&self) -> usize {
        4 * self.k * (self.m + self.n + 2)
    }

    fn fits(&self, device: &DeviceProfile) -> bool {
        self.invocations() <= device.max_workgroup_invocations as usize
            && self.workgroup_bytes() <= device.max_workgroup_bytes as usize
    }
}

impl Product {
    fn workgroups(&self, tile: &Tile) -> usize {
        self.m.div_ceil(tile.m) * self.n.div_ceil(tile.n) * self.parts
    }

    /// Tiles for this product on `device`, best guess first; none where tiles do not pay.
    fn tiles(&self, device: &DeviceProfile) -> Vec<Tile> {
        let too_many_parts = self.parts > MAX_WORKGROUPS_PER_AXIS as usize;
        if self.m < FEWEST_COLUMNS || self.n < FEWEST_COLUMNS || too_many_parts {
            return Vec::new();
        }
        let mut tiles: Vec<Tile> = TILES.into_iter().filter(|tile| tile.fits(device)).collect();
        if device.kind == DeviceKind::Software {
            // It has few cores to keep busy: small tiles first, if the product fills them.
            tiles.reverse();
            let position = if self.m > SOFTWARE_TILE.m / 2 { 0 } else { 1 };
            tiles.insert(position.min(tiles.len()), SOFTWARE_TILE);
        } else {
            tiles.sort_by_key(|tile| self.n <= tile.n / 2 || self.workgroups(tile) < ENOUGH_WORKGROUPS);
        }
        tiles
    }

    /// Ways to compute this product with `source`, whose operands are bound in order.
    pub fn implementations(
        &self,
        device: &DeviceProfile,
        source: &Source,
        constants: &[(&'static str, Constant)],
        operands: usize,
    ) -> Vec<Implementation> {
        let implementation = |tile: Tile| {
            let bindings = Binding::operands(operands);
            Implementation::of(tile.name, self.call(&tile, source, constants, bindings, 1))
        };
        self.tiles(device).into_iter().map(implementation).collect()
    }

    /// The same, for products whose sum over k is long and whose result is the last operand: k is cut into
    /// slices, each summed on its own, and a second pass adds the slices in a fixed order.
    pub fn split_implementations(
        &self,
        device: &DeviceProfile,
        source: &Source,
        constants: &[(&'static str, Constant)],
        operands: usize,
    ) -> Vec<Implementation> {
        let implementation = |tile: Tile| {
            let elements = self.m * self.n * self.parts;
            let room = (device.max_binding_bytes / 4) as usize / elements;
            let slices =
                (ENOUGH_WORKGROUPS / self.workgroups(&tile)).min(self.k / SHORTEST_SLICE).min(room).max(1);
            let mut bindings = Binding::operands(operands);
            if slices == 1 {
                return Implementation::of(tile.name, self.call(&tile, source, constants, bindings, 1));
            }
            bindings[operands - 1] = Binding::Workspace(0);
            let sum = KernelCall {
                bindings: vec![Binding::Workspace(0), Binding::Operand(operands - 1)],
                ..sum_slices(elements, slices)
            };
            let calls = vec![self.call(&tile, source, constants, bindings, slices), sum];
            Implementation { name: tile.name, calls, workspace: vec![slices * elements] }
        };
        self.tiles(device).into_iter().map(implementation).collect()
    }

    fn call(
        &self,
        tile: &Tile,
        source: &Source,
        constants: &[(&'static str, Constant)],
        bindings: Vec<Binding>,
        slices: usize,
    ) -> KernelCall {
        let slice_k = self.k.div_ceil(slices).next_multiple_of(tile.k);
        let sizes = [
            ("TILE_M", tile.m as u32),
            ("TILE_N", tile.n as u32),
            ("TILE_K", tile.k as u32),
            ("THREAD_M", tile.thread_m as u32),
            ("THREAD_N", tile.thread_n as u32),
        ];
        let mut source = source.clone().with_sizes(&sizes);
        source.files.extend(shader!("gemm/tiled.wgsl").files);
        let mut constants = constants.to_vec();
        constants.extend([
            ("GEMM_M", self.m.into()),
            ("GEMM_N", self.n.into()),
            ("GEMM_K", self.k.into()),
            ("SLICES", slices.into()),
            ("SLICE_K", slice_k.into()),
        ]);
        let [x, y, _] = grid(self.m.div_ceil(tile.m) * self.n.div_ceil(tile.n));
        KernelCall { source, constants, bindings, workgroups: [x, y, (self.parts * slices) as u32] }
    }
}

/// Slices for sums of `length` terms: `wanted`, or more where they would be too long, and at least one; fewer
/// where the slices of all `elements` sums would not fit a buffer.
pub fn slices(wanted: usize, length: usize, elements: usize, device: &DeviceProfile) -> usize {
    let room = (device.max_binding_bytes / 4) as usize / elements;
    wanted.max(length.div_ceil(LONGEST_SLICE)).min(room).max(1)
}

/// An implementation whose `call` writes `slices` partial sums of its `elements` results, the last of its
/// bindings, and adds them up in a second pass.
pub fn in_slices(name: &'static str, mut call: KernelCall, elements: usize, slices: usize) -> Implementation {
    if slices == 1 {
        return Implementation::of(name, call);
    }
    let result = call.bindings.pop().expect("a call binds its result");
    call.bindings.push(Binding::Workspace(0));
    let bindings = vec![Binding::Workspace(0), result];
    let sum = KernelCall { bindings, ..sum_slices(elements, slices) };
    Implementation { name, calls: vec![call, sum], workspace: vec![slices * elements] }
}

/// The second pass of a split sum: `result[i] = sum over slices of slices[slice][i]`; binds the slices and
/// the result, in that order.
pub fn sum_slices(elements: usize, slices: usize) -> KernelCall {
    let constants = vec![("ELEMENTS", elements.into()), ("SLICES", slices.into())];
    KernelCall::elementwise(shader!("gemm/sum_slices.wgsl", "grid.wgsl"), constants, 2, elements)
}
