//! Convolutions of groups with few channels, including depthwise ones, for which matrix products do not fill a tile.

use super::partial_sums::{PartialSums, in_partial_sums};
use super::strip::{InputColumns, Limits, Strip, even_parts};
use super::workgroups::{invocations, workgroup_bytes};
use crate::device::DeviceProfile;
use crate::ops::conv::phases::Phases;
use crate::ops::conv::{ConvGeometry, OPERANDS};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source, grid, shader};
use crate::ops::prologue::Prologue;

/// The largest number of channels of a group: more fill the tiles of a matrix product.
const MOST_GROUP_CHANNELS: usize = 16;

/// The largest number of neighbouring strips of a row that a workgroup owns: their windows share columns, and those of
/// neighbouring rows share rows.
const MOST_STRIP_LANES: usize = 4;

/// The smallest number of bytes of a pixel that a workgroup reads, if the pixel has as many: a cache line.
const LINE_BYTES: usize = 128;

/// The largest number of sums of an invocation of the filters' gradient, which are held in registers.
const MOST_SUMS: usize = 48;

/// How a kernel sees the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channels {
    /// Four channels at a time, each with one filter of its own.
    DepthwiseQuads,
    /// Four channels of a group at a time on both sides.
    Quads,
    /// One channel at a time.
    Scalars,
}

impl Channels {
    /// `None` if groups are not small.
    fn of_small_groups(geometry: &ConvGeometry) -> Option<Self> {
        let (group_in, group_out) = (geometry.group_in_channels(), geometry.group_out_channels());
        if geometry.groups == 1 || group_in.max(group_out) > MOST_GROUP_CHANNELS {
            None
        } else if geometry.is_depthwise() && geometry.in_channels.is_multiple_of(4) {
            Some(Channels::DepthwiseQuads)
        } else if group_in.is_multiple_of(4) && group_out.is_multiple_of(4) {
            Some(Channels::Quads)
        } else {
            Some(Channels::Scalars)
        }
    }

    /// Number of channels of a packet.
    fn width(self) -> usize {
        if self == Channels::Scalars { 1 } else { 4 }
    }

    /// Number of packets of `channels` channels that a workgroup owns.
    fn lanes(self, channels: usize) -> usize {
        even_parts(channels / self.width(), LINE_BYTES / (4 * self.width()))
    }

    /// Number of packets of a group of `channels` channels.
    fn group_packets(self, channels: usize) -> usize {
        (channels / self.width()).max(1)
    }

    /// Number of sums of a tap for a pair of packets.
    fn sums(self) -> usize {
        if self == Channels::Quads { 16 } else { self.width() }
    }

    fn limits(self) -> Limits {
        let columns = if self == Channels::Scalars { 24 } else { 12 };
        let products = if self == Channels::Quads { 24 } else { 64 };
        Limits { positions: 8, taps: 8, columns, products }
    }

    /// `files` with those that define a packet, its arithmetic, and the convolution's sizes.
    fn complete(self, mut files: Source, product: Source) -> Source {
        let packet = match self {
            Channels::Scalars => shader!("conv/packet_scalars.wgsl"),
            _ => shader!("conv/packet_quads.wgsl"),
        };
        let more = [packet, product, shader!("conv/geometry.wgsl")];
        files.files.extend(more.into_iter().flat_map(|source| source.files));
        files
    }

    fn product(self) -> Source {
        match self {
            Channels::Quads => shader!("conv/product_matrix.wgsl"),
            _ => shader!("conv/product_elementwise.wgsl"),
        }
    }

    fn outer_product(self) -> Source {
        match self {
            Channels::Quads => shader!("conv/outer_matrix.wgsl"),
            _ => shader!("conv/outer_elementwise.wgsl"),
        }
    }
}

fn name(geometry: &ConvGeometry) -> &'static str {
    if geometry.is_depthwise() { "depthwise" } else { "grouped" }
}

/// The forward pass; `None` if groups are not small, or windows too large.
pub fn forward(
    geometry: &ConvGeometry,
    epilogue: &Epilogue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    let channels = Channels::of_small_groups(geometry)?;
    let strip = Strip::of_output(&geometry.width, channels.limits())?;
    let written = Written {
        channels: geometry.out_channels,
        width: geometry.width.output,
        rows: geometry.batch_size * geometry.height.output,
        row_weights: geometry.width.kernel * geometry.group_in_channels(),
        row_step: 1,
        strip,
        tap_trips: strip.positions,
    };
    let mut source = shader!("conv/forward_grouped.wgsl", "conv/strips.wgsl");
    source.files.extend(match channels {
        Channels::Scalars => shader!("epilogue/scalars.wgsl").files,
        _ => shader!("epilogue/quads.wgsl").files,
    });
    let source = channels.complete(source, channels.product());
    let mut call = written.call(geometry, channels, source, geometry.constants(), device)?;
    epilogue.complete(&mut call, OPERANDS);
    Some(Implementation::of(name(geometry), call))
}

/// The input's gradient; `None` if groups are not small, or windows or strides too large.
pub fn grad_input(
    geometry: &ConvGeometry,
    prologue: &Prologue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    let channels = Channels::of_small_groups(geometry)?;
    let strip = Strip::of_input(&geometry.width, channels.limits())?;
    let columns = InputColumns::new(&geometry.width, strip.positions, strip.taps);
    let (rows, taps) = (Phases::new(&geometry.height), Phases::new(&geometry.width));
    let written = Written {
        channels: geometry.in_channels,
        width: geometry.width.input,
        rows: geometry.batch_size * geometry.height.input,
        row_weights: geometry.width.kernel * geometry.group_out_channels(),
        row_step: rows.tap_step,
        strip,
        // Of each phase, and of its positions.
        tap_trips: geometry.width.stride + strip.positions,
    };
    let mut constants = geometry.constants();
    constants.extend([
        ("LEAD", columns.lead.into()),
        ("FIRST_COLUMN", Constant::U32(columns.first as u32)),
        ("ROW_STEP", rows.tap_step.into()),
        ("ROW_INVERSE", rows.tap_inverse.into()),
        ("TAP_STEP", taps.tap_step.into()),
        ("TAP_INVERSE", taps.tap_inverse.into()),
    ]);
    let source = shader!("conv/grad_input_grouped.wgsl", "conv/strips.wgsl");
    let source = channels.complete(source, channels.product());
    let mut call = written.call(geometry, channels, source, constants, device)?;
    prologue.complete_packets(&mut call, OPERANDS, channels != Channels::Scalars);
    Some(Implementation::of(name(geometry), call))
}

/// The tensor that a kernel of `conv/strips.wgsl` writes, and the weights that it needs.
struct Written {
    channels: usize,
    width: usize,
    /// Number of rows of all images.
    rows: usize,
    /// Number of packets of weights that a packet of channels needs for a row of taps.
    row_weights: usize,
    /// Rows of taps are staged in multiples of this, or all at once.
    row_step: usize,
    strip: Strip,
    /// Number of iterations of the loops over a tap's products.
    tap_trips: usize,
}

impl Written {
    fn call(
        &self,
        geometry: &ConvGeometry,
        channels: Channels,
        source: Source,
        mut constants: Vec<(&'static str, Constant)>,
        device: &DeviceProfile,
    ) -> Option<KernelCall> {
        if self.trips(geometry, channels) > device.loop_trips() {
            return None;
        }
        let strips = self.width.div_ceil(self.strip.positions);
        let strip_lanes = strips.div_ceil(strips.div_ceil(MOST_STRIP_LANES));
        let (lanes, staged_rows) = self.staging(geometry.height.kernel, channels, device)?;
        let row_lanes = (invocations(device) / (lanes * strip_lanes)).min(self.rows);
        let packets = self.channels / channels.width();
        constants.extend([
            ("PACKETS", packets.into()),
            ("STRIPS", strips.into()),
            ("ROWS", self.rows.into()),
        ]);
        let source = source.with_sizes(&[
            ("STRIP", self.strip.positions as u32),
            ("TAPS", self.strip.taps as u32),
            ("COLUMNS", self.strip.columns as u32),
            ("LANES", lanes as u32),
            ("STRIP_LANES", strip_lanes as u32),
            ("ROW_LANES", row_lanes as u32),
            ("STAGED_ROWS", staged_rows as u32),
            ("STAGED", (staged_rows * self.row_weights * (lanes + 1)) as u32),
        ]);
        let workgroups =
            packets.div_ceil(lanes) * strips.div_ceil(strip_lanes) * self.rows.div_ceil(row_lanes);
        Some(KernelCall {
            source,
            constants,
            bindings: Binding::operands(OPERANDS),
            workgroups: grid(workgroups),
        })
    }

    /// The largest number of iterations of an invocation's loops: each row of taps is staged, in packets of its
    /// channels, and then multiplied, packet by packet of the group.
    fn trips(&self, geometry: &ConvGeometry, channels: Channels) -> usize {
        let (kernel_height, kernel_width) = (geometry.height.kernel, geometry.width.kernel);
        let group_packets = self.row_weights.div_ceil(kernel_width);
        let staging = self.row_weights * (1 + channels.width());
        kernel_height * (2 + staging + group_packets * (1 + self.strip.trips(kernel_width, self.tap_trips)))
    }

    /// Number of packets of a workgroup, and of rows of taps whose weights are in workgroup memory at a time.
    fn staging(
        &self,
        kernel_height: usize,
        channels: Channels,
        device: &DeviceProfile,
    ) -> Option<(usize, usize)> {
        let most = invocations(device) / MOST_STRIP_LANES;
        let mut lanes = channels.lanes(self.channels).min(most);
        while lanes > 0 {
            let row_bytes = self.row_weights * (lanes + 1) * 4 * channels.width();
            let rows = (workgroup_bytes(device) / row_bytes).min(kernel_height);
            if rows == kernel_height {
                return Some((lanes, rows));
            }
            if rows >= self.row_step {
                let chunks = kernel_height.div_ceil(rows / self.row_step * self.row_step);
                return Some((lanes, kernel_height.div_ceil(chunks).next_multiple_of(self.row_step)));
            }
            lanes /= 2;
        }
        None
    }
}

/// The filters' gradient; `None` if groups are not small, or windows too large.
pub fn grad_filters(
    geometry: &ConvGeometry,
    prologue: &Prologue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    let channels = Channels::of_small_groups(geometry)?;
    let most_taps = (MOST_SUMS / channels.sums()).min(8);
    let limits = Limits { positions: 4, taps: most_taps, columns: 12, products: 4 * most_taps };
    let strip = Strip::of_output(&geometry.width, limits)?;
    let tap_groups = geometry.height.kernel
        * geometry.width.kernel.div_ceil(strip.taps)
        * channels.group_packets(geometry.group_in_channels());
    let lanes = channels.lanes(geometry.out_channels);
    let tap_lanes = tap_groups.div_ceil(tap_groups.div_ceil(invocations(device) / lanes));
    let places = invocations(device) / (lanes * tap_lanes);
    // Packets of sums, and how many of them lie in workgroup memory at a time.
    let sums = strip.taps * channels.sums() / channels.width();
    let room = workgroup_bytes(device) / (4 * channels.width() * lanes * tap_lanes * places);
    let batch = sums.div_ceil(sums.div_ceil(room));
    let packet_blocks = (geometry.out_channels / channels.width()).div_ceil(lanes);
    let blocks = packet_blocks * tap_groups.div_ceil(tap_lanes);
    let strips =
        geometry.batch_size * geometry.height.output * geometry.width.output.div_ceil(strip.positions);
    let partial = PartialSums {
        elements: geometry.filters_shape().elements(),
        blocks,
        steps: strips,
        side_by_side: places,
        trips: 1 + strip.positions * (2 + strip.taps) + strip.columns,
    };
    let slices = partial.slices(device);
    let slice_strips = strips.div_ceil(slices);
    let slices = strips.div_ceil(slice_strips);
    let source = shader!("conv/grad_filters_grouped.wgsl");
    let source = channels.complete(source, channels.outer_product()).with_sizes(&[
        ("STRIP", strip.positions as u32),
        ("TAPS", strip.taps as u32),
        ("COLUMNS", strip.columns as u32),
        ("LANES", lanes as u32),
        ("TAP_LANES", tap_lanes as u32),
        ("PLACES", places as u32),
        ("HALF_PLACES", (places.next_power_of_two() / 2) as u32),
        ("BATCH", batch as u32),
    ]);
    let mut constants = geometry.constants();
    constants.push(("SLICE_STRIPS", slice_strips.into()));
    let mut call = KernelCall {
        source,
        constants,
        bindings: Binding::operands(OPERANDS),
        workgroups: grid(blocks * slices),
    };
    prologue.complete_packets(&mut call, OPERANDS, channels != Channels::Scalars);
    Some(in_partial_sums(name(geometry), call, 2, partial.elements, slices))
}
