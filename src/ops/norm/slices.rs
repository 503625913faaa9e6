//! On a GPU: sums over rows in two passes, slices of rows side by side and then the slices.

use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source};
use crate::ops::rows::{INVOCATIONS, RowSlices};

/// Channels of a workgroup of the second pass.
const SECOND_WIDTH: usize = 16;

/// Workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 1024;

/// What both passes are launched with.
pub struct TwoPasses {
    /// Rows of the tensors that are summed.
    pub rows: usize,
    /// Their channels, and values of each of the two results.
    pub channels: usize,
    /// Sums a slice; binds the operands in order, and writes `[slices,K]` in place of the results.
    pub first: Source,
    /// Its constants, beside those of `shaders/norm/lanes.wgsl`.
    pub constants: Vec<(&'static str, Constant)>,
    /// Number of operands; the last two are the results.
    pub operands: usize,
    /// Adds up the slices; binds those of either result, and then the results.
    pub second: Source,
}

impl TwoPasses {
    /// The implementation `sliced`, with one pass where one slice is enough; none where it does not pay.
    pub fn sliced(self, device: &DeviceProfile) -> Option<Implementation> {
        let TwoPasses { rows, channels, operands, .. } = self;
        let RowSlices { width, blocks, slices } = RowSlices::new(rows, channels, ENOUGH_WORKGROUPS, device)?;
        let slice_rows = rows.div_ceil(slices);
        // None of them is empty.
        let slices = rows.div_ceil(slice_rows);
        let call = |source: Source, more: Vec<(&'static str, Constant)>, width: usize, workgroups: usize| {
            let span = (INVOCATIONS / width).next_power_of_two() / 2;
            let sizes = [
                ("ROWS", rows),
                ("CHANNELS", channels),
                ("SLICES", slices),
                ("SLICE_ROWS", slice_rows),
                ("WIDTH", width),
                ("SPAN", span),
            ];
            let mut constants = more;
            constants.extend(sizes.map(|(name, size)| (name, size.into())));
            let source = source.with_sizes(&[("INVOCATIONS", INVOCATIONS as u32)]);
            KernelCall::new(source, constants, Binding::operands(operands), workgroups)
        };
        let mut first = call(self.first, self.constants, width, blocks * slices);
        if slices == 1 {
            return Some(Implementation::of("sliced", first).tailored());
        }
        let parts = [Binding::Workspace(0), Binding::Workspace(1)];
        let results = first.bindings[operands - 2..].to_vec();
        first.bindings[operands - 2..].copy_from_slice(&parts);
        let mut second = call(self.second, Vec::new(), SECOND_WIDTH, channels.div_ceil(SECOND_WIDTH));
        second.bindings = [&parts[..], &results].concat();
        let workspace = vec![slices * channels; 2];
        Some(Implementation::of_calls("sliced", vec![first, second], workspace).tailored())
    }
}
