//! Convolutions of groups with few channels, including depthwise ones, for which matrix products do not fill a tile; and the
//! filters' gradient of a single group with a few dozen.

use super::packet::Packet;
use super::strip::{Limits, Strip, even_parts};
use super::tap_groups::TapGroups;
use super::workgroups::{invocations, workgroup_bytes};
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::conv::phases::Phases;
use crate::ops::conv::{ConvGeometry, OPERANDS};
use crate::ops::cost::{Cost, CostClass, LAUNCH, multiprocessors};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source, shader};
use crate::ops::prologue::Prologue;

/// The largest number of channels of a group: more fill the tiles of a matrix product.
const MOST_GROUP_CHANNELS: usize = 16;

/// The largest number of channels of a single group in the filters' gradient.
const MOST_CHANNELS_OF_ONE: usize = 32;

/// Share of the peak multiply-add rate that the filters' gradient of a single group is expected to reach.
const EFFICIENCY: f64 = 0.4;

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

    /// Channels of a single group that are few, but not so few as a stem's.
    fn of_one_group(geometry: &ConvGeometry) -> Option<Self> {
        let channels = [geometry.in_channels, geometry.out_channels];
        let suits = |count: usize| count.is_multiple_of(4) && count > 4 && count <= MOST_CHANNELS_OF_ONE;
        (geometry.groups == 1 && channels.into_iter().all(suits)).then_some(Channels::Quads)
    }

    /// The channels that are moved at a time.
    fn packet(self) -> Packet {
        if self == Channels::Scalars { Packet::Scalar } else { Packet::Quad }
    }

    /// Number of channels of a packet.
    fn width(self) -> usize {
        self.packet().width()
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
        Limits { positions: 8, unit: 1, taps: 8, columns, products }
    }

    fn product(self) -> Source {
        match self {
            Channels::Quads => shader!("conv/few_channels/product_matrix.wgsl"),
            _ => shader!("conv/few_channels/product_elementwise.wgsl"),
        }
    }

    fn outer_product(self) -> Source {
        match self {
            Channels::Quads => shader!("conv/few_channels/outer_matrix.wgsl"),
            _ => shader!("conv/few_channels/outer_elementwise.wgsl"),
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
    let mut source = shader!("conv/few_channels/forward_grouped.wgsl");
    source.files.extend(channels.packet().finish().files);
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
    let written = Written {
        channels: geometry.in_channels,
        width: geometry.width.input,
        rows: geometry.batch_size * geometry.height.input,
        row_weights: geometry.width.kernel * geometry.group_out_channels(),
        row_step: Phases::new(&geometry.height).tap_step,
        strip,
        // Of each phase, and of its positions.
        tap_trips: geometry.width.stride + strip.positions,
    };
    let mut constants = geometry.constants();
    constants.extend(strip.meeting_places(geometry));
    let source = shader!("conv/few_channels/grad_input_grouped.wgsl", "conv/few_channels/input_strips.wgsl");
    let mut call = written.call(geometry, channels, source, constants, device)?;
    prologue.complete_packets(&mut call, OPERANDS, channels.packet() == Packet::Quad);
    Some(Implementation::of(name(geometry), call))
}

/// The tensor that a kernel of `shaders/conv/few_channels/strips.wgsl` writes, and the weights that it needs.
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
        mut source: Source,
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
        source.files.extend(shader!("conv/few_channels/strips.wgsl").files);
        source.files.extend(channels.product().files);
        let source = channels.packet().complete(source).with_sizes(&self.strip.sizes()).with_sizes(&[
            ("LANES", lanes as u32),
            ("STRIP_LANES", strip_lanes as u32),
            ("ROW_LANES", row_lanes as u32),
            ("STAGED_ROWS", staged_rows as u32),
            ("STAGED", (staged_rows * self.row_weights * (lanes + 1)) as u32),
        ]);
        let workgroups =
            packets.div_ceil(lanes) * strips.div_ceil(strip_lanes) * self.rows.div_ceil(row_lanes);
        Some(KernelCall::new(source, constants, Binding::operands(OPERANDS), workgroups))
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
    in_tap_groups(name(geometry), geometry, channels, prologue, device)
}

/// The filters' gradient of a single group; `None` if its channels are too many or too few, or windows too large.
pub fn grad_filters_of_one(
    geometry: &ConvGeometry,
    prologue: &Prologue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    let channels = Channels::of_one_group(geometry)?;
    let way = in_tap_groups("strips", geometry, channels, prologue, device)?;
    let class = match device.kind {
        DeviceKind::Software => CostClass::Reserve,
        _ => CostClass::BestOfKind,
    };
    let products = geometry.flops() as f64 / 2.0 / multiprocessors(device) as f64;
    Some(way.at(Cost { class, time: products / EFFICIENCY + 2.0 * LAUNCH }))
}

fn in_tap_groups(
    name: &'static str,
    geometry: &ConvGeometry,
    channels: Channels,
    prologue: &Prologue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    let most_taps = (MOST_SUMS / channels.sums()).min(8);
    let limits = Limits { positions: 4, unit: 1, taps: most_taps, columns: 12, products: 4 * most_taps };
    let strip = Strip::of_output(&geometry.width, limits)?;
    let mut source = shader!("conv/few_channels/grad_filters_grouped.wgsl");
    source.files.extend(channels.outer_product().files);
    let groups = TapGroups {
        geometry,
        strip,
        packets: channels.group_packets(geometry.group_in_channels()),
        filters: geometry.out_channels / channels.width(),
        lanes: channels.lanes(geometry.out_channels),
        sums: strip.taps * channels.sums() / channels.width(),
        bias: None,
        sum_bytes: 4 * channels.width(),
        trips: 1 + strip.positions * (2 + strip.taps) + strip.columns,
    };
    Some(groups.implementation(name, source, channels.packet(), prologue, device))
}
