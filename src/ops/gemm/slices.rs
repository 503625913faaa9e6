//! Long sums in slices: workgroups sum the slices in parallel, and a second pass adds them in a fixed order.

use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Implementation, KernelCall, SliceSum, Source, shader};
use crate::ops::pool::Store;

/// Longer sums than this are split if possible: they lose digits, and some drivers end a loop that takes too long.
pub const LONGEST_SLICE: usize = 16 << 10;

/// Number of slices for sums of `length` terms: `wanted`, or more if they would be too long, and at least one; fewer if
/// there is no room for the slices of all `elements` sums.
pub fn slices(wanted: usize, length: usize, elements: usize, device: &DeviceProfile) -> usize {
    wanted.max(length.div_ceil(LONGEST_SLICE)).min(most_slices(elements, device)).max(1)
}

/// The largest number of slices of `elements` sums that fits a buffer and 32-bit indices, and that a loop can add.
pub fn most_slices(elements: usize, device: &DeviceProfile) -> usize {
    let room = (device.max_binding_bytes / 4).min(u32::MAX.into()) as usize / elements;
    room.min(device.loop_trips())
}

impl Implementation {
    /// The same implementation, whose calls write `slices` of the operand of number `result`, which has so many `elements`, and
    /// not the operand itself; a further call adds them. Unchanged if there is one slice.
    pub fn in_slices(
        mut self,
        result: usize,
        elements: usize,
        slices: usize,
        device: &DeviceProfile,
    ) -> Implementation {
        if slices == 1 {
            return self;
        }
        let lanes = lanes(elements, slices, device);
        let sum = match lanes {
            1 => {
                let mut sum = unfinished_sum_slices(elements, slices, 1, Store::AsItIs);
                Epilogue::NONE.complete(&mut sum, 0);
                sum
            }
            _ => KernelCall::new(
                adding(shader!("gemm/sum_slices_side_by_side.wgsl", "gemm/slice_results.wgsl"), device)
                    .with_sizes(&[("LANES", lanes as u32)]),
                vec![("ELEMENTS", elements.into()), ("SLICES", slices.into())],
                Binding::operands(2),
                elements.div_ceil(invocations(device) / lanes),
            ),
        };
        let (call, scratch) = (self.calls.len(), self.workspace.len());
        self.slice_sums.push(SliceSum { call, scratch, result, elements, slices, lanes });
        self.added_by(sum, result, slices * elements)
    }

    /// The same implementation, whose calls write so many partial sums instead of the operand of number `result`, and then `sum`,
    /// which adds them: it binds the partial sums and the result, in that order, before others.
    pub fn added_by(mut self, mut sum: KernelCall, result: usize, partial_sums: usize) -> Implementation {
        let scratch = Binding::Workspace(self.workspace.len());
        for binding in self.calls.iter_mut().flat_map(|call| &mut call.bindings) {
            if *binding == Binding::Operand(result) {
                *binding = scratch;
            }
        }
        sum.bindings[..2].copy_from_slice(&[scratch, Binding::Operand(result)]);
        self.calls.push(sum);
        self.workspace.push(partial_sums);
        self
    }
}

/// Most invocations of a workgroup that adds slices.
const INVOCATIONS: usize = 256;

/// Invocations that keep a device busy.
const ENOUGH_INVOCATIONS: usize = 32 << 10;

/// Invocations of a workgroup that adds slices: a power of two.
fn invocations(device: &DeviceProfile) -> usize {
    1 << INVOCATIONS.min(device.max_workgroup_invocations as usize).ilog2()
}

/// Invocations that share a sum of so many slices. A software rasteriser is busy with one for each, and needs long to compile
/// a barrier.
fn lanes(elements: usize, slices: usize, device: &DeviceProfile) -> usize {
    if device.kind == DeviceKind::Software {
        return 1;
    }
    let wanted = (ENOUGH_INVOCATIONS / elements).min(slices / 2).clamp(1, 32);
    (1 << wanted.ilog2()).min(invocations(device))
}

/// A source that adds slices, with the files that it needs for that.
pub fn adding(mut first: Source, device: &DeviceProfile) -> Source {
    first.files.extend(shader!("gemm/slice_lanes.wgsl", "grid.wgsl").files);
    first.with_sizes(&[("INVOCATIONS", invocations(device) as u32)])
}

/// A sum whose slices wait to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateSum {
    /// The number of the operand that is its result, for the operation that reads it first.
    pub operand: usize,
    /// Where its slices begin, in elements of all slices.
    pub first_slice: usize,
    /// The sum.
    pub sum: SliceSum,
}

/// Slices of several sums in one piece of memory, which one launch adds as those of [`Implementation::in_slices`] would, to the
/// same bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumTable {
    /// What a workgroup adds, in rows of six numbers: `SliceSum` in `shaders/gemm/slice_lanes.wgsl`.
    pub rows: Vec<u32>,
}

impl SumTable {
    /// Numbers of a row.
    const ROW: usize = 6;

    /// Adds a sum, whose slices begin at element `first_slice` of all slices, and whose results at element `first_result` of
    /// all results. Kernels use 32-bit indices, so that both must be below 2^32.
    pub fn push(&mut self, sum: &SliceSum, first_slice: usize, first_result: usize, device: &DeviceProfile) {
        for first in (0..sum.elements).step_by(Self::results_of_a_workgroup(sum, device)) {
            self.push_row([first_slice, sum.elements, sum.slices, sum.lanes, first_result, first]);
        }
    }

    /// Adds elements that are no sum of slices, for a kernel whose invocations own `of_an_invocation` each.
    pub fn push_complete(
        &mut self,
        elements: usize,
        first_result: usize,
        of_an_invocation: usize,
        device: &DeviceProfile,
    ) {
        for first in (0..elements).step_by(invocations(device) * of_an_invocation) {
            self.push_row([0, elements, 0, 1, first_result, first]);
        }
    }

    fn push_row(&mut self, row: [usize; Self::ROW]) {
        self.rows.extend(row.map(|number| u32::try_from(number).expect("an index of 32 bits")));
    }

    /// Number of workgroups: one for each row.
    pub fn workgroups(&self) -> usize {
        self.rows.len() / Self::ROW
    }

    /// Number of neighbouring results of a sum that a workgroup adds.
    pub fn results_of_a_workgroup(sum: &SliceSum, device: &DeviceProfile) -> usize {
        invocations(device) / sum.lanes
    }

    /// The launch: it binds as scratch buffers 0 and 1 the slices and the table, and as operand 0 the results.
    pub fn call(&self, device: &DeviceProfile) -> KernelCall {
        let workgroups = self.workgroups();
        let bindings = vec![Binding::Workspace(0), Binding::Workspace(1), Binding::Operand(0)];
        let source = adding(shader!("gemm/sum_slices_late.wgsl", "gemm/slice_results.wgsl"), device);
        KernelCall::new(source, vec![("WORKGROUPS", workgroups.into())], bindings, workgroups)
    }
}

/// The second pass of a split sum, for a result `[..,channels]` that is still to be completed with an epilogue:
/// `result[i] = finish(sum over slices of slices[slice][i])`, stored as `store` says; binds the slices and the result, in that
/// order, before others.
pub fn unfinished_sum_slices(elements: usize, slices: usize, channels: usize, store: Store) -> KernelCall {
    let constants =
        vec![("ELEMENTS", elements.into()), ("CHANNELS", channels.into()), ("SLICES", slices.into())];
    let source = shader!("gemm/sum_slices.wgsl", "grid.wgsl");
    let mut call = KernelCall::elementwise(source, constants, 2, elements);
    match store {
        Store::AsItIs => call.source.files.extend(shader!("gemm/store_sum.wgsl").files),
        Store::Unpooled { .. } => store.complete(&mut call, 1, false),
    }
    call
}
