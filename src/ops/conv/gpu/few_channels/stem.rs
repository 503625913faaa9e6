//! Convolutions of images with few channels, such as a network's first one: a matrix product would read only a few
//! contiguous values at a time, and has very few columns in the input's gradient.

use super::packet::Packet;
use super::strip::{Limits, Strip};
use super::tap_groups::TapGroups;
use super::workgroups::{invocations, workgroup_bytes};
use crate::device::DeviceProfile;
use crate::ops::conv::phases::Phases;
use crate::ops::conv::{ConvGeometry, OPERANDS};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Implementation, KernelCall, Source, shader};
use crate::ops::pool::store_best;
use crate::ops::prologue::Prologue;

/// The largest number of channels; more are read in quads.
const MOST_CHANNELS: usize = 4;

/// The largest number of channels for the input's gradient: matrix products handle eight or more.
const MOST_GRAD_CHANNELS: usize = 7;

/// The largest number of lanes of filters in a workgroup: eight of them read 128 contiguous bytes.
const MOST_LANES: usize = 8;

/// The largest number of sums of an invocation, which are held in registers.
const MOST_SUMS: usize = 64;

/// The largest number of unrolled products of a position, a tap and a channel in the input's gradient.
const MOST_GRAD_PRODUCTS: usize = 84;

/// Number of iterations of the loops that copy four weights to workgroup memory.
const STAGING_TRIPS: usize = 5;

const NAME: &str = "stem";

fn is_stem(geometry: &ConvGeometry, most_channels: usize) -> bool {
    geometry.groups == 1 && geometry.in_channels <= most_channels
}

/// Numbers of quads of filters that an invocation of the forward pass or of the filters' gradient may own.
const QUADS: [usize; 2] = [2, 1];

/// The forward pass; `None` if there are many channels, or windows are too large. If the operand of the winners has a number, of
/// each 2x2 positions of the output only the largest is stored, and which of the four it was.
pub fn forward(
    geometry: &ConvGeometry,
    epilogue: &Epilogue,
    winners: Option<usize>,
    device: &DeviceProfile,
) -> Option<Implementation> {
    if !is_stem(geometry, MOST_CHANNELS) {
        return None;
    }
    let filter_quads = geometry.out_channels.div_ceil(4);
    let quads = if filter_quads == 1 { 1 } else { 2 };
    let lanes = filter_quads.div_ceil(quads).div_ceil(filter_quads.div_ceil(quads).div_ceil(MOST_LANES));
    // Positions side by side, and in how many rows, one below the other.
    let strip_rows = if winners.is_some() { 2 } else { 1 };
    let most_positions = MOST_SUMS / (4 * quads * strip_rows);
    let limits = Limits {
        positions: most_positions,
        unit: strip_rows,
        taps: 8,
        columns: 24 / strip_rows,
        products: 6 * most_positions,
    };
    let strip = Strip::of_output(&geometry.width, limits)?;
    let row_weights = geometry.width.kernel * geometry.in_channels;
    let row_trips = strip.trips(geometry.width.kernel, quads * (1 + strip.positions)) * geometry.in_channels;
    let row_trips = strip_rows * (1 + row_trips);
    if geometry.height.kernel * (2 + row_trips + STAGING_TRIPS * row_weights) > device.loop_trips() {
        return None;
    }
    let places = invocations(device) / lanes;
    let row_bytes = 16 * row_weights * (lanes * quads + 1);
    let rows = workgroup_bytes(device) / row_bytes;
    if rows == 0 {
        return None;
    }
    let rows = geometry.height.kernel.div_ceil(geometry.height.kernel.div_ceil(rows));
    let packet = Packet::of(geometry.out_channels);
    let source = shader!("conv/few_channels/forward_stem.wgsl", "conv/few_channels/output_strips.wgsl");
    let source = packet.complete(source).with_sizes(&strip.sizes()).with_sizes(&[
        ("STRIP_ROWS", strip_rows as u32),
        ("QUADS", quads as u32),
        ("LANES", lanes as u32),
        ("PLACES", places as u32),
        ("STAGED_ROWS", rows as u32),
        ("STAGED", (rows * row_weights * (lanes * quads + 1)) as u32),
    ]);
    let lines = geometry.batch_size * (geometry.height.output / strip_rows);
    let strips = strip.covering(lines, geometry.width.output);
    let workgroups = filter_quads.div_ceil(lanes * quads) * strips.div_ceil(places);
    let mut call = KernelCall::new(source, geometry.constants(), Binding::operands(OPERANDS), workgroups);
    let mut add = |more: Source| call.source.files.extend(more.files);
    match winners {
        None => {
            add(shader!("conv/few_channels/stem_positions.wgsl"));
            add(packet.finish());
        }
        Some(winners) => {
            add(shader!("conv/few_channels/stem_windows.wgsl", "epilogue/four.wgsl"));
            store_best(&mut call, winners, packet == Packet::Quad);
        }
    }
    epilogue.complete(&mut call, OPERANDS);
    Some(Implementation::of(NAME, call))
}

/// The part of the filters' gradient that an invocation owns.
#[derive(Clone, Copy, Debug)]
struct Owned {
    quads: usize,
    strip: Strip,
}

impl Owned {
    fn new(geometry: &ConvGeometry) -> Option<Self> {
        let candidates = QUADS.into_iter().filter_map(|quads| {
            let limits = Limits { positions: 4, unit: 1, taps: 8, columns: 16, products: MOST_SUMS / quads };
            Some(Owned { quads, strip: Strip::of_output(&geometry.width, limits)? })
        });
        candidates.min_by_key(|owned| owned.cost(geometry))
    }

    /// Number of instructions of all invocations for a row of positions: a load with its address counts as eight, and
    /// every tap group reads the gradients.
    fn cost(&self, geometry: &ConvGeometry) -> usize {
        let Owned { quads, strip } = self;
        let loads = 8 * (strip.positions * quads + strip.columns);
        let products = strip.positions * quads * 4 * strip.taps;
        let strips = geometry.width.output.div_ceil(strip.positions);
        let tap_groups = strip.tap_groups(geometry, geometry.in_channels);
        geometry.out_channels.div_ceil(4 * quads) * tap_groups * strips * (loads + products + 16)
    }
}

/// The filters' gradient, and that of the bias if it has a number among the operands; `None` if there are many channels, or
/// windows are too large.
pub fn grad_filters(
    geometry: &ConvGeometry,
    prologue: &Prologue,
    bias: Option<usize>,
    device: &DeviceProfile,
) -> Option<Implementation> {
    if !is_stem(geometry, MOST_CHANNELS) {
        return None;
    }
    let Owned { quads, strip } = Owned::new(geometry)?;
    let filters = geometry.out_channels.div_ceil(4 * quads);
    let groups = TapGroups {
        geometry,
        strip,
        packets: geometry.in_channels,
        filters,
        lanes: filters.div_ceil(filters.div_ceil(MOST_LANES)),
        sums: (strip.taps + usize::from(bias.is_some())) * quads,
        bias,
        sum_bytes: 16,
        trips: 1 + strip.positions * (2 + 6 * quads + strip.taps * (1 + quads)) + strip.columns,
    };
    let source = shader!("conv/few_channels/grad_filters_stem.wgsl", "conv/few_channels/grads_of_four.wgsl");
    let source = source.with_sizes(&[("QUADS", quads as u32)]);
    Some(groups.implementation(NAME, source, Packet::of(geometry.out_channels), prologue, device))
}

/// The input's gradient; `None` if there are many channels, or windows or strides are too large.
pub fn grad_input(
    geometry: &ConvGeometry,
    prologue: &Prologue,
    device: &DeviceProfile,
) -> Option<Implementation> {
    if !is_stem(geometry, MOST_GRAD_CHANNELS) {
        return None;
    }
    let channels = geometry.in_channels;
    let most_positions = (MOST_SUMS / 2 / channels).min(8);
    let limits = Limits {
        positions: most_positions.max(geometry.width.stride),
        unit: 1,
        taps: 8,
        columns: 12,
        products: MOST_GRAD_PRODUCTS / channels,
    };
    if limits.positions * channels > MOST_SUMS {
        return None;
    }
    let strip = Strip::of_input(&geometry.width, limits)?;
    let quads = geometry.out_channels.div_ceil(4);
    let lanes = quads.div_ceil(quads.div_ceil(MOST_LANES));
    let quad_rows = quads.div_ceil(lanes) * geometry.height.kernel;
    let tap_trips = geometry.width.stride + channels * (geometry.width.stride + strip.positions);
    let row_trips = strip.trips(geometry.width.kernel, tap_trips);
    let staging_trips = STAGING_TRIPS * geometry.width.kernel * channels;
    if quad_rows * (3 + row_trips + staging_trips) > device.loop_trips() {
        return None;
    }
    let places = invocations(device) / lanes;
    // Fours of sums, and how many of them lie in workgroup memory at a time.
    let sum_quads = (strip.positions * channels).div_ceil(4);
    let room = workgroup_bytes(device) / (16 * places * (lanes + 1));
    if room == 0 {
        return None;
    }
    let batch = sum_quads.div_ceil(sum_quads.div_ceil(room));
    let staging = Staging::new(geometry, lanes, workgroup_bytes(device) / 16)?;
    let packet = Packet::of(geometry.out_channels);
    let source = shader!(
        "conv/few_channels/grad_input_stem.wgsl",
        "conv/few_channels/grads_of_four.wgsl",
        "conv/few_channels/input_strips.wgsl"
    );
    let source = packet.complete(source).with_sizes(&strip.sizes()).with_sizes(&[
        ("CHANNELS", channels as u32),
        ("LANES", lanes as u32),
        ("PLACES", places as u32),
        ("STAGED_QUADS", staging.quads as u32),
        ("STAGED_ROWS", staging.rows as u32),
        ("BATCH", batch as u32),
        ("SHARED_QUADS", staging.memory.max(batch * places * (lanes + 1)) as u32),
    ]);
    let mut constants = geometry.constants();
    constants.extend(strip.meeting_places(geometry));
    let strips = strip.covering(geometry.batch_size * geometry.height.input, geometry.width.input);
    let bindings = Binding::operands(OPERANDS);
    let mut call = KernelCall::new(source, constants, bindings, strips.div_ceil(places));
    prologue.complete_packets(&mut call, OPERANDS, packet == Packet::Quad);
    Some(Implementation::of(NAME, call))
}

/// The weights of the input's gradient that are in workgroup memory at a time.
#[derive(Clone, Copy, Debug)]
struct Staging {
    /// Number of quads of filters: a multiple of the lanes.
    quads: usize,
    /// Number of rows of taps: a multiple of a step, or all.
    rows: usize,
    /// Number of quads of weights.
    memory: usize,
}

impl Staging {
    /// As few stages as `room` quads of weights allow; `None` if that is too little.
    fn new(geometry: &ConvGeometry, lanes: usize, room: usize) -> Option<Self> {
        let row_step = Phases::new(&geometry.height).tap_step;
        let kernel_height = geometry.height.kernel;
        let row_weights = geometry.width.kernel * geometry.in_channels;
        let most_rounds = geometry.out_channels.div_ceil(4 * lanes);
        let candidates = (1..=most_rounds).filter_map(|rounds| {
            let quads = rounds * lanes;
            let rows = match room / (row_weights * (quads + 1)) {
                rows if rows >= kernel_height => kernel_height,
                rows => rows / row_step * row_step,
            };
            (rows > 0).then_some(Staging { quads, rows, memory: rows * row_weights * (quads + 1) })
        });
        let stages = |staging: &Staging| {
            geometry.out_channels.div_ceil(4 * staging.quads) * kernel_height.div_ceil(staging.rows)
        };
        candidates.min_by_key(stages)
    }
}
