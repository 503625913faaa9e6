//! Sums of each channel over the rows of a tensor `[rows,K]`: how the rows are shared out.

use super::gemm::most_slices;
use crate::device::DeviceProfile;

/// Elements that a core of the CPU sums at a time.
const CHUNK_ELEMENTS: usize = 16 << 10;

/// Minimum number of rows that a core sums at a time: fewer would cost as much when their sums are added up as they gain.
const FEWEST_CHUNK_ROWS: usize = 16;

/// Number of rows that a core of the CPU sums at a time.
pub fn chunk_rows(channels: usize) -> usize {
    (CHUNK_ELEMENTS / channels).max(FEWEST_CHUNK_ROWS)
}

/// Invocations of a workgroup that sums a slice of the rows on a GPU.
pub const INVOCATIONS: usize = 256;

/// With this many channels, one invocation per channel keeps a large GPU busy as well.
const ENOUGH_CHANNELS: usize = 64 << 10;

/// With fewer rows than this there is nothing to share out.
const FEWEST_ROWS: usize = 32;

/// Minimum number of rows that an invocation sums: fewer cost more in the second pass than they gain.
const SHORTEST_LANE: usize = 16;

/// On a GPU: slices of the rows, each summed by workgroups of its own; a second pass adds the slices up.
///
/// A workgroup sums `width` channels, each in as many lanes as it has invocations for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSlices {
    /// Channels of a workgroup.
    pub width: usize,
    /// Workgroups along the channels.
    pub blocks: usize,
    /// Number of slices, at least one.
    pub slices: usize,
}

impl RowSlices {
    /// Slices that make `enough_workgroups` where there are so many rows; `None` where slices do not pay, or where the
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
        // An invocation goes through its rows of the slice, and the first ones through the sums of all lanes.
        let longest = lanes.saturating_mul(device.loop_trips() - lanes);
        let slices = wanted.max(rows.div_ceil(longest)).min(most_slices(channels, device)).max(1);
        Some(RowSlices { width, blocks, slices })
    }
}
