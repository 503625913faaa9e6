//! Sums over rows on a GPU, in two passes: slices of rows in parallel, and then the sum of the slices.

use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source};
use crate::ops::rows::{INVOCATIONS, RowSlices};

/// Number of channels of a workgroup in the second pass.
const SECOND_WIDTH: usize = 16;

/// Number of workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 1024;

/// The parameters of both passes.
pub struct TwoPasses {
    /// Number of rows of the tensors that are summed.
    pub rows: usize,
    /// Number of their channels, and of values of each of the two results.
    pub channels: usize,
    /// Sums a slice; binds the operands in order, and writes `[slices,K]` in place of the results.
    pub first: Source,
    /// The constants of the first pass, besides those of `shaders/norm/lanes.wgsl`.
    pub constants: Vec<(&'static str, Constant)>,
    /// Number of operands; the last two are the results.
    pub operands: usize,
    /// Adds the slices; binds the slices of both results, and then the results.
    pub second: Source,
}

impl TwoPasses {
    /// The implementation `sliced`, with a single pass if one slice is enough; `None` if it does not pay off.
    pub fn sliced(self, device: &DeviceProfile) -> Option<Implementation> {
        let TwoPasses { rows, channels, operands, .. } = self;
        let RowSlices { width, blocks, slices } = RowSlices::new(rows, channels, ENOUGH_WORKGROUPS, device)?;
        let slice_rows = rows.div_ceil(slices);
        // Recomputed, so that no slice is empty.
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
