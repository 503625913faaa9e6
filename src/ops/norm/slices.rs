//! Slices of the rows on a GPU: workgroups sum them in parallel, and those of a second launch each combine all slices
//! before they go on with rows of their own.

use super::BatchNormSize;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, KernelCall, Source};
use crate::ops::rows::INVOCATIONS;

/// Rows or slices that an invocation reads before it goes on: their loads wait together.
const ROWS_TOGETHER: usize = 8;

/// Number of workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 1024;

/// Number of workgroups below which parts of a large GPU are idle.
const BUSY_WORKGROUPS: usize = 256;

/// Slices of the rows of a tensor, each the work of one workgroup for every `width` channels.
pub struct Slices {
    rows: usize,
    channels: usize,
    /// Number of slices, none of which is empty.
    pub count: usize,
    /// Number of rows of each, but for the last one, which may have fewer.
    pub slice_rows: usize,
    /// Number of channels of a workgroup, each in as many lanes as it has invocations for.
    width: usize,
}

impl Slices {
    /// Slices of a tensor of this size; `None` if the device's workgroups are too small, or its loops too short.
    ///
    /// In the second launch, a workgroup reads the sums of all slices beside the rows of its own: with the square root of
    /// half the rows as their number, it reads no more sums than values; with that of twice the rows, four times as many,
    /// which pays off while there would be too few workgroups otherwise.
    pub fn new(size: &BatchNormSize, device: &DeviceProfile) -> Option<Self> {
        let &BatchNormSize { rows, channels, .. } = size;
        let width = channels.min(INVOCATIONS);
        let lanes = INVOCATIONS / width;
        let blocks = channels.div_ceil(width);
        let enough = ENOUGH_WORKGROUPS / blocks;
        let root = |number: f64| number.sqrt() as usize;
        let busy = (BUSY_WORKGROUPS / blocks).min(root(2.0 * rows as f64));
        let wanted = enough.min(root(rows as f64 / 2.0).max(busy)).min(rows.div_ceil(lanes)).max(1);
        let slice_rows = rows.div_ceil(wanted);
        // Recomputed, so that no slice is empty.
        let count = rows.div_ceil(slice_rows);
        // An invocation loops over its rows, several times over those that it reads together, and over its slices, or up to
        // twice as many parts; those of the first lane also over the sums of all lanes.
        let trips = 3 * (slice_rows.div_ceil(lanes) + ROWS_TOGETHER)
            + 4 * (count.div_ceil(lanes) + ROWS_TOGETHER)
            + lanes;
        let fits = INVOCATIONS <= device.max_workgroup_invocations as usize && trips <= device.loop_trips();
        fits.then_some(Slices { rows, channels, count, slice_rows, width })
    }

    /// How many of so many tiles of the rows make a part, so that a workgroup can combine the moments of all parts as it would
    /// those of the slices: fewer than twice as many.
    pub fn tiles_of_part(&self, tiles: usize) -> usize {
        (tiles / self.count).max(1)
    }

    /// A launch with one workgroup for each slice and each `width` channels.
    pub fn call(&self, source: Source, bindings: Vec<Binding>) -> KernelCall {
        self.call_for(source, bindings, self.count)
    }

    /// A launch with one workgroup for each `width` channels.
    pub fn call_once(&self, source: Source, bindings: Vec<Binding>) -> KernelCall {
        self.call_for(source, bindings, 1)
    }

    fn call_for(&self, source: Source, bindings: Vec<Binding>, slices: usize) -> KernelCall {
        let span = (INVOCATIONS / self.width).next_power_of_two() / 2;
        let sizes = [
            ("ROWS", self.rows),
            ("CHANNELS", self.channels),
            ("SLICES", self.count),
            ("SLICE_ROWS", self.slice_rows),
            ("WIDTH", self.width),
            ("SPAN", span),
        ];
        let constants = sizes.map(|(name, size)| (name, size.into())).to_vec();
        let sizes = [("INVOCATIONS", INVOCATIONS as u32), ("ROWS_TOGETHER", ROWS_TOGETHER as u32)];
        let source = source.with_sizes(&sizes);
        let workgroups = self.channels.div_ceil(self.width) * slices;
        KernelCall::new(source, constants, bindings, workgroups)
    }
}
