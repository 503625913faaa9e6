//! The filters' gradient: each sum goes over all positions of the output, so it is cut into slices that workgroups sum side
//! by side.

use super::packet::Packet;
use super::strip::Strip;
use super::workgroups::{invocations, workgroup_bytes};
use crate::device::DeviceProfile;
use crate::ops::conv::{ConvGeometry, OPERANDS};
use crate::ops::gemm::most_slices;
use crate::ops::kernel::{Binding, Implementation, KernelCall, Source, shader};
use crate::ops::prologue::Prologue;

/// Workgroups that keep a multiprocessor busy.
const WORKGROUPS_PER_MULTIPROCESSOR: usize = 4;

/// Multiprocessors of a device that does not say.
const USUAL_MULTIPROCESSORS: usize = 32;

/// Strips that an invocation goes through at least: with fewer, adding up the slices costs more than they save.
const FEWEST_STRIPS: usize = 4;

/// Number of the operand that the sums are stored in.
const GRAD_FILTERS: usize = 2;

/// A kernel with `shaders/conv/few_channels/tap_groups.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct TapGroups<'a> {
    /// The convolution.
    pub geometry: &'a ConvGeometry,
    /// Output positions, and the taps that are worked on together.
    pub strip: Strip,
    /// Number of packets of input channels of a filter.
    pub packets: usize,
    /// Number of bundles of filters; an invocation owns one.
    pub filters: usize,
    /// Number of bundles that a workgroup owns.
    pub lanes: usize,
    /// Number of vectors of sums of an invocation.
    pub sums: usize,
    /// The number of the bias's gradient among the operands, if the kernel computes it.
    pub bias: Option<usize>,
    /// Bytes of such a vector.
    pub sum_bytes: usize,
    /// Iterations of an invocation's loops for a strip, at most.
    pub trips: usize,
}

impl TapGroups<'_> {
    /// The implementation of this name: `source` is the kernel with its own sizes.
    pub fn implementation(
        &self,
        name: &'static str,
        source: Source,
        packet: Packet,
        prologue: &Prologue,
        device: &DeviceProfile,
    ) -> Implementation {
        let TapGroups { geometry, strip, lanes, .. } = *self;
        let tap_groups = strip.tap_groups(geometry, self.packets);
        let tap_lanes = tap_groups.div_ceil(tap_groups.div_ceil(invocations(device) / lanes));
        let places = invocations(device) / (lanes * tap_lanes);
        // How many sums of each invocation lie in workgroup memory at a time.
        let room = workgroup_bytes(device) / (self.sum_bytes * lanes * tap_lanes * places);
        let batch = self.sums.div_ceil(self.sums.div_ceil(room));
        let blocks = self.filters.div_ceil(lanes) * tap_groups.div_ceil(tap_lanes);
        let strips = strip.covering(geometry.batch_size * geometry.height.output, geometry.width.output);
        let slice_strips = strips.div_ceil(self.slices(strips, blocks, places, device));
        // None of them is empty.
        let slices = strips.div_ceil(slice_strips);
        let mut source = source.with_sizes(&strip.sizes()).with_sizes(&[
            ("STRIP_ROWS", 1),
            ("LANES", lanes as u32),
            ("TAP_LANES", tap_lanes as u32),
            ("PLACES", places as u32),
            ("HALF_PLACES", (places.next_power_of_two() / 2) as u32),
            ("BATCH", batch as u32),
        ]);
        source.files.extend(
            shader!("conv/few_channels/tap_groups.wgsl", "conv/few_channels/output_strips.wgsl").files,
        );
        let mut constants = geometry.constants();
        constants.push(("SLICE_STRIPS", slice_strips.into()));
        let source = packet.complete(source);
        let mut call = KernelCall::new(source, constants, Binding::operands(OPERANDS), blocks * slices);
        prologue.complete_packets(&mut call, OPERANDS, packet == Packet::Quad);
        let bias_sums = shader!("conv/few_channels/bias_sums.wgsl");
        let none = shader!("conv/few_channels/no_bias_sums.wgsl");
        call.complete(self.bias, "BIAS_BINDING", bias_sums, none);
        let elements = geometry.filters_shape().elements();
        let filters = Implementation::of(name, call).in_slices(GRAD_FILTERS, elements, slices, device);
        match self.bias {
            Some(operand) => filters.in_slices(operand, geometry.out_channels, slices, device),
            None => filters,
        }
    }

    /// Slices of all `strips` that keep `device` busy, where sums take `blocks` workgroups, each with so many strips side by
    /// side.
    fn slices(&self, strips: usize, blocks: usize, side_by_side: usize, device: &DeviceProfile) -> usize {
        let multiprocessors = device.multiprocessors.map_or(USUAL_MULTIPROCESSORS, |count| count as usize);
        let wanted = (multiprocessors * WORKGROUPS_PER_MULTIPROCESSOR).div_ceil(blocks);
        let most = strips / (side_by_side * FEWEST_STRIPS);
        let longest = side_by_side.saturating_mul((device.loop_trips() / self.trips).max(1));
        let room = most_slices(self.geometry.filters_shape().elements(), device);
        wanted.min(most).max(strips.div_ceil(longest)).min(room).clamp(1, strips)
    }
}
