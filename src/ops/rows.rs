//! Sums of each channel over the rows of a tensor `[rows,K]`: how the rows are divided.

use super::gemm::most_slices;
use crate::device::DeviceProfile;

/// Number of elements that a core of the CPU sums at a time.
const CHUNK_ELEMENTS: usize = 16 << 10;

/// Minimum number of rows that a core sums at a time: with fewer, adding the sums would cost as much as is gained.
const FEWEST_CHUNK_ROWS: usize = 16;

/// Number of rows that a core of the CPU sums at a time.
pub fn chunk_rows(channels: usize) -> usize {
    (CHUNK_ELEMENTS / channels).max(FEWEST_CHUNK_ROWS)
}

/// Number of invocations in a workgroup that sums a slice of the rows on a GPU.
pub const INVOCATIONS: usize = 256;

/// With this many channels, one invocation per channel is enough to keep a large GPU busy.
const ENOUGH_CHANNELS: usize = 64 << 10;

/// With fewer rows than this, slices are not worthwhile.
const FEWEST_ROWS: usize = 32;

/// Minimum number of rows that an invocation sums: fewer cost more in the second pass than they gain.
const SHORTEST_LANE: usize = 16;

/// Slices of the rows on a GPU, each summed by its own workgroups; a second pass adds the slices.
///
/// A workgroup sums `width` channels, each in as many lanes as it has invocations for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSlices {
    /// Number of channels of a workgroup.
    pub width: usize,
    /// Number of workgroups along the channels.
    pub blocks: usize,
    /// Number of slices, at least one.
    pub slices: usize,
}

impl RowSlices {
    /// The slices that give `enough_workgroups`, if there are enough rows; `None` if slices do not pay off, or if the
    /// device's workgroups are too small.
    pub fn new(
        rows: usize,
        channels: usize,
        enough_workgroups: usize,
        device: &DeviceProfile,
    ) -> Option<Self> {
        let fits = INVOCATIONS <= device.max_workgroup_invocations as usize;
        if !fits || rows < FEWEST_ROWS || channels >= ENOUGH_CHANNELS {
            return None;
        }
        let width = channels.min(INVOCATIONS);
        let (lanes, blocks) = (INVOCATIONS / width, channels.div_ceil(width));
        let wanted = (enough_workgroups / blocks).min(rows / (lanes * SHORTEST_LANE));
        // Every invocation loops over its rows of the slice, and those of the first lane also over the sums of all
        // lanes.
        let longest = lanes.saturating_mul(device.loop_trips() - lanes);
        let slices = wanted.max(rows.div_ceil(longest)).min(most_slices(channels, device)).max(1);
        Some(RowSlices { width, blocks, slices })
    }
}
