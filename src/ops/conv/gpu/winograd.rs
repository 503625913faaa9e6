//! Winograd's convolution: windows of 3x3, a tile of outputs at a time, with fewer products than the definition has.
//!
//! The input's gradient is a forward pass: grad_output takes the input's place, the filters are rotated by 180 degrees and
//! summed over k, and the padding is 2 minus the convolution's. The filters' gradient is the transpose of the forward
//! pass: products of patches and tiles of grad_output, summed over all tiles.

use super::FusedPass;
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::conv::ConvGeometry;
use crate::ops::conv::winograd::{AMPLIFICATION_OF_4X4, SHORTEST_SUM, is_in_reach};
use crate::ops::cost::{Cost, CostClass, LAUNCH, travel};
use crate::ops::gemm::{MATRIX_UNITS, Product, Quads, TiledKernel};
use crate::ops::kernel::{
    Binding, Constant, Implementation, KernelCall, Source, TileMoments, WORKGROUP_SIZE, shader,
};
use crate::ops::prologue::Prologue;
use crate::ops::window::Axis;

/// The outputs that are computed from one patch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct OutputTile {
    // With the products in the tiles that are expected to be best, and in the next ones; each without the moments of the output's
    // channels, and with them.
    names: [[&'static str; 2]; 2],
    height: usize,
    width: usize,
    /// The smallest number of channels, in and out, with which the transforms pay off.
    fewest_channels: usize,
    /// Errors of the answer relative to those of the definition's sums, and likewise of the filters' gradient: the table
    /// in [`winograd`](crate::ops::conv::winograd).
    amplification: [f64; 2],
}

/// A tile as `tile!(height, width, fewest channels, [amplification, of the filters' gradient])`.
macro_rules! tile {
    ($height:literal, $width:literal, $channels:literal, $amplification:expr) => {
        OutputTile {
            names: [
                [
                    concat!("winograd_", $height, "x", $width),
                    concat!("winograd_", $height, "x", $width, "_moments"),
                ],
                [
                    concat!("winograd_", $height, "x", $width, "_second"),
                    concat!("winograd_", $height, "x", $width, "_second_moments"),
                ],
            ],
            height: $height,
            width: $width,
            fewest_channels: $channels,
            amplification: $amplification,
        }
    };
}

const SMALL_TILE: OutputTile = tile!(2, 2, 16, [1.0, 1.0]);

const LARGE_TILES: [OutputTile; 4] = [
    tile!(3, 3, 32, [1.12, 1.12]),
    tile!(4, 3, 32, [1.67, 1.31]),
    tile!(3, 4, 32, [1.67, 1.31]),
    tile!(4, 4, 32, AMPLIFICATION_OF_4X4),
];

/// Smaller images than this leave most of a tile idle.
const SHORTEST_AXIS: usize = 4;

/// The largest ratio of the scratch memory to the tensors of the operation.
const MOST_GROWTH: usize = 8;

// The scratch buffers: both factors of the products, and what comes of them.
const A: usize = 0;
const B: usize = 1;
const PRODUCTS: usize = 2;
const SLICES: usize = 3;

/// Sizes of one pass with one kind of tile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PassInTiles<'a> {
    geometry: &'a ConvGeometry,
    pass: FusedPass,
    tile: OutputTile,
    /// Which of the ways to compute the products, best guess first: 0 or 1.
    rank: usize,
    /// Whether the last step leaves the moments of the output's channels.
    with_moments: bool,
}

impl OutputTile {
    fn exact_on_integers(&self) -> bool {
        self.height == 2 && self.width == 2
    }
}

impl PassInTiles<'_> {
    /// Number of positions along an axis of the tensor that is split into tiles.
    fn positions(&self, axis: &Axis) -> usize {
        match self.pass {
            FusedPass::Forward(_) | FusedPass::GradFilters { .. } => axis.output,
            FusedPass::GradInput { .. } => axis.input,
        }
    }

    /// Number of tiles down and across an image.
    fn tiles(&self) -> [usize; 2] {
        let (height, width) = (self.positions(&self.geometry.height), self.positions(&self.geometry.width));
        [height.div_ceil(self.tile.height), width.div_ceil(self.tile.width)]
    }

    /// Number of tiles of all images.
    fn all_tiles(&self) -> usize {
        self.tiles().into_iter().product::<usize>() * self.geometry.batch_size
    }

    /// Whether each workgroup of the last step owns all channels of so many tiles, and each tile lies in its image.
    fn has_whole_workgroups(&self) -> bool {
        let (channels, geometry) = (self.geometry.out_channels, self.geometry);
        let invocations = WORKGROUP_SIZE as usize;
        is_quads(channels)
            && invocations.is_multiple_of(channels / 4)
            && self.all_tiles().is_multiple_of(invocations / (channels / 4))
            && geometry.height.output.is_multiple_of(self.tile.height)
            && geometry.width.output.is_multiple_of(self.tile.width)
    }

    /// The moments that the last step leaves in the scratch buffer of this number, and the elements of that.
    fn moments(&self, scratch: usize) -> (TileMoments, usize) {
        let channels = self.geometry.out_channels;
        let tiles = WORKGROUP_SIZE as usize / (channels / 4);
        let rows = tiles * self.tile.height * self.tile.width;
        (TileMoments { scratch, rows }, 2 * self.all_tiles() / tiles * channels)
    }

    fn product(&self) -> Product {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let parts = (self.tile.height + 2) * (self.tile.width + 2);
        let [m, n, k] = match self.pass {
            FusedPass::Forward(_) => [self.all_tiles(), out_channels, in_channels],
            FusedPass::GradInput { .. } => [self.all_tiles(), in_channels, out_channels],
            FusedPass::GradFilters { .. } => [out_channels, in_channels, self.all_tiles()],
        };
        Product { m, n, k, parts }
    }

    /// Number of elements of both factors and of the products.
    fn workspace(&self) -> Option<[usize; 3]> {
        let Product { m, n, k, parts } = self.product();
        let elements = |rows: usize, columns: usize| rows.checked_mul(columns)?.checked_mul(parts);
        Some([elements(m, k)?, elements(n, k)?, elements(m, n)?])
    }

    fn tensors(&self) -> [usize; 3] {
        let geometry = self.geometry;
        [geometry.input_shape(), geometry.filters_shape(), geometry.output_shape()]
            .map(|shape| shape.elements())
    }

    /// Whether the pass may be faster this way, and there is memory for it.
    fn is_offered(&self, device: &DeviceProfile) -> bool {
        let ConvGeometry { height, width, groups, .. } = self.geometry;
        let fits_axis = |axis: &Axis| is_in_reach(axis) && self.positions(axis) >= SHORTEST_AXIS;
        let channels = [self.geometry.in_channels, self.geometry.out_channels];
        let enough_channels = channels.into_iter().all(|count| count >= self.tile.fewest_channels);
        let Some(workspace) = self.workspace() else { return false };
        let most = ((device.max_binding_bytes / 4) as usize).min(i32::MAX as usize);
        let growth = MOST_GROWTH * self.tensors().iter().sum::<usize>();
        let is_long = match self.pass {
            FusedPass::GradFilters { .. } => {
                self.geometry.batch_size * self.geometry.positions() >= SHORTEST_SUM
            }
            _ => true,
        };
        *groups == 1
            && is_long
            && fits_axis(height)
            && fits_axis(width)
            && enough_channels
            && workspace.iter().all(|&elements| elements <= most)
            && workspace.iter().sum::<usize>() <= growth
    }

    /// Expected time in multiply-adds of one multiprocessor, to be compared with that of
    /// [`products`](super::products::products).
    ///
    /// The transforms are bound by memory traffic; the product takes the `time` of its multiply-adds or of the traffic of
    /// its operands, whichever is longer.
    fn cost(&self, time: f64, device: &DeviceProfile) -> Option<f64> {
        let [input, filters, output] = self.tensors();
        let factors_and_products: usize = self.workspace()?.into_iter().sum();
        let transforms = input + filters + output + factors_and_products;
        let product = time.max(travel(factors_and_products, device));
        Some(travel(transforms, device) + product + 3.0 * LAUNCH)
    }

    fn implementation(&self, device: &DeviceProfile) -> Option<Implementation> {
        let workspace = self.workspace()?;
        let product = self.tiled_product(device)?;
        // Kernels that are no tiles state no time.
        let time = if self.rank == 0 { self.product().cost(device)? } else { product.cost.time };
        let cost = Cost { class: CostClass::Reserve, time: self.cost(time, device)? };
        let mut calls = vec![self.factors()];
        calls.extend(product.calls);
        let mut workspace: Vec<usize> = workspace.into_iter().chain(product.workspace).collect();
        let moments = self.with_moments.then(|| self.moments(workspace.len()));
        let (moments, elements) = moments.unzip();
        workspace.extend(elements);
        calls.push(self.result(moments));
        let [of_result, of_filters] = self.tile.amplification;
        Some(Implementation {
            exact_on_integers: self.tile.exact_on_integers(),
            amplification: if let FusedPass::GradFilters { .. } = self.pass { of_filters } else { of_result },
            moments,
            cost,
            ..Implementation::of_calls(
                self.tile.names[self.rank][usize::from(self.with_moments)],
                calls,
                workspace,
            )
        })
    }

    /// The transforms of both operands, in one launch.
    fn factors(&self) -> KernelCall {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let quads = is_quads(in_channels) && is_quads(out_channels);
        let tiles = self.all_tiles();
        let of_input =
            (shader!("conv/winograd/input.wgsl", "conv/winograd/patches.wgsl"), tiles * in_channels);
        let of_grad_output =
            (shader!("conv/winograd/grad_output.wgsl", "conv/winograd/patches.wgsl"), tiles * out_channels);
        let filters = shader!("conv/winograd/filters.wgsl").with_sizes(&[self.gradient()]);
        let filters = (filters, out_channels * in_channels);
        let grad_tiles = (shader!("conv/winograd/grad_tiles.wgsl"), tiles * out_channels);
        let bound = |operand, factor| [Binding::Operand(operand), Binding::Workspace(factor)];
        // The patches and the other factor, each with its number of transforms of one channel, and the bindings of both.
        let ((mut files, patches), (other, others), bindings) = match self.pass {
            FusedPass::Forward(_) => (of_input, filters, [bound(0, A), bound(1, B)]),
            FusedPass::GradInput { .. } => (of_grad_output, filters, [bound(1, A), bound(0, B)]),
            FusedPass::GradFilters { .. } => (of_input, grad_tiles, [bound(0, B), bound(1, A)]),
        };
        files.files.extend(other.files);
        files.sizes.extend(other.sizes);
        let (source, mut constants) = self.with_tiles(files, quads);
        let [patches, others] =
            [patches, others].map(|values| (values / width(quads)).div_ceil(WORKGROUP_SIZE as usize));
        constants.push(("PATCH_WORKGROUPS", patches.into()));
        let mut call = KernelCall::new(source, constants, bindings.concat(), patches + others);
        if let FusedPass::GradInput { prologue, .. } | FusedPass::GradFilters { prologue, .. } = self.pass {
            prologue.complete_packets(&mut call, 3, quads);
        }
        call
    }

    /// The transform of the products, which may leave moments.
    fn result(&self, moments: Option<TileMoments>) -> KernelCall {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let bindings = [Binding::Operand(2), Binding::Workspace(PRODUCTS)];
        let with_moments = |mut call: KernelCall| {
            match moments {
                Some(TileMoments { scratch, .. }) => {
                    call.source.files.extend(shader!("conv/winograd/moments.wgsl").files);
                    call.bind("MOMENTS_BINDING", Binding::Workspace(scratch));
                }
                None => call.source.files.extend(shader!("conv/winograd/no_moments.wgsl").files),
            }
            call
        };
        match self.pass {
            FusedPass::Forward(epilogue) => {
                let files = shader!("conv/winograd/output.wgsl", "conv/winograd/results.wgsl");
                let mut call = self.transform(files, self.all_tiles(), out_channels, bindings);
                call.source.files.extend(match is_quads(out_channels) {
                    true => shader!("epilogue/quads.wgsl").files,
                    false => shader!("epilogue/scalars.wgsl").files,
                });
                epilogue.complete(&mut call, 3);
                with_moments(call)
            }
            FusedPass::GradInput { store, .. } => {
                let files = shader!("conv/winograd/grad_input.wgsl", "conv/winograd/results.wgsl");
                let mut call = self.transform(files, self.all_tiles(), in_channels, bindings);
                store.complete(&mut call, 0, is_quads(in_channels));
                with_moments(call)
            }
            FusedPass::GradFilters { .. } => {
                let files = shader!("conv/winograd/grad_filters.wgsl");
                self.transform(files, out_channels, in_channels, bindings)
            }
        }
    }

    /// Launches a transform of `rows` times `channels` values, in the widest packets that the channels allow.
    fn transform(&self, files: Source, rows: usize, channels: usize, bindings: [Binding; 2]) -> KernelCall {
        let quads = is_quads(channels);
        let (source, constants) = self.with_tiles(files, quads);
        KernelCall {
            bindings: bindings.into(),
            ..KernelCall::elementwise(source, constants, bindings.len(), rows * channels / width(quads))
        }
    }

    /// The source of a transform with all that it needs of tiles and packets, and its constants.
    fn with_tiles(&self, files: Source, quads: bool) -> (Source, Vec<(&'static str, Constant)>) {
        let mut source = files
            .with_sizes(&[("TILE_HEIGHT", self.tile.height as u32), ("TILE_WIDTH", self.tile.width as u32)]);
        let packets =
            if quads { shader!("conv/winograd/quads.wgsl") } else { shader!("conv/winograd/scalars.wgsl") };
        let more = shader!(
            "conv/winograd/lines.wgsl",
            "conv/winograd/tiles.wgsl",
            "conv/geometry.wgsl",
            "grid.wgsl"
        );
        source.files.extend(packets.files.into_iter().chain(more.files));
        let [down, across] = self.tiles();
        let mut constants = self.geometry.constants();
        constants.extend([("TILES_DOWN", down.into()), ("TILES_ACROSS", across.into())]);
        (source, constants)
    }

    /// The products of all parts, over the scratch buffers.
    fn tiled_product(&self, device: &DeviceProfile) -> Option<Implementation> {
        let product = self.product();
        let source = match self.pass {
            FusedPass::GradFilters { .. } => shader!("conv/winograd/product_of_tiles.wgsl"),
            _ => shader!("conv/winograd/product.wgsl").with_sizes(&[self.gradient()]),
        };
        let a = match self.pass {
            FusedPass::GradFilters { .. } => product.m,
            _ => product.k,
        };
        let kernel = TiledKernel {
            source,
            constants: vec![("PARTS", Constant::from(product.parts))],
            operands: 3,
            factors: [0, 1],
            result: 2,
            elements: product.parts * product.m * product.n,
            quads: Quads {
                a: is_quads(a),
                b: is_quads(self.geometry.in_channels),
                result: is_quads(product.n),
            },
            prologue: Prologue::NONE,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: None,
            store: None,
        };
        // The errors of matrix units would come on top of those of the transforms.
        let in_f32 = |way: &Implementation| !way.name.starts_with(MATRIX_UNITS);
        let mut ways = product.implementations(device, &kernel).into_iter().filter(in_f32);
        let mut implementation = ways.nth(self.rank)?;
        for binding in implementation.calls.iter_mut().flat_map(|call| &mut call.bindings) {
            *binding = match *binding {
                Binding::Operand(number) => Binding::Workspace([A, B, PRODUCTS][number]),
                Binding::Workspace(number) => Binding::Workspace(SLICES + number),
                Binding::Span { .. } => unreachable!("a product has three operands"),
            };
        }
        Some(implementation)
    }

    fn gradient(&self) -> (&'static str, u32) {
        ("GRADIENT", matches!(self.pass, FusedPass::GradInput { .. }).into())
    }
}

fn is_quads(channels: usize) -> bool {
    channels.is_multiple_of(4)
}

/// Number of values of a packet.
fn width(quads: bool) -> usize {
    if quads { 4 } else { 1 }
}

/// Winograd's convolution for a pass; empty if there is nothing to gain. The best tile comes with two ways to compute the products,
/// since rules may be mistaken about these too. If they are wanted, ways that leave the moments of the output's channels come
/// with those that do not.
pub fn implementations(
    geometry: &ConvGeometry,
    pass: FusedPass,
    column_moments: bool,
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let ways = LARGE_TILES.into_iter().chain([SMALL_TILE]).flat_map(|tile| {
        let plain = PassInTiles { geometry, pass, tile, rank: 0, with_moments: false };
        let leaves_moments = column_moments && plain.has_whole_workgroups();
        let with_moments = leaves_moments.then_some(PassInTiles { with_moments: true, ..plain });
        with_moments.into_iter().chain([plain])
    });
    let offered = ways.filter(|way| way.is_offered(device));
    let mut offered: Vec<(PassInTiles<'_>, Implementation)> =
        offered.filter_map(|way| Some((way, way.implementation(device)?))).collect();
    offered.sort_by(|(_, a), (_, b)| a.cost.time.total_cmp(&b.cost.time));
    let second = offered.first_mut().and_then(|(way, best)| {
        best.cost.class = CostClass::BestOfKind;
        let mut second = PassInTiles { rank: 1, ..*way }.implementation(device)?;
        second.cost.class = CostClass::RunnerUp;
        // A rasteriser compiles each slowly.
        (device.kind != DeviceKind::Software).then_some(second)
    });
    offered.into_iter().map(|(_, way)| way).chain(second).collect()
}
