//! Long sums in slices: workgroups sum the slices in parallel, and a second pass adds them in a fixed order.

use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};

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

/// An implementation whose `calls` write `slices` partial sums of its `elements` results, the operand of number
/// `result`, and a last call adds them.
pub fn in_slices(
    name: &'static str,
    calls: Vec<KernelCall>,
    result: usize,
    elements: usize,
    slices: usize,
) -> Implementation {
    if slices == 1 {
        return Implementation::of_calls(name, calls, Vec::new());
    }
    two_passes(name, calls, sum_slices(elements, slices), result, slices * elements)
}

/// `calls`, which write slices of the operand of number `result`, and `sum`, which adds them.
pub fn two_passes(
    name: &'static str,
    mut calls: Vec<KernelCall>,
    mut sum: KernelCall,
    result: usize,
    partial_sums: usize,
) -> Implementation {
    for call in &mut calls {
        call.bindings[result] = Binding::Workspace(0);
    }
    sum.bindings[..2].copy_from_slice(&[Binding::Workspace(0), Binding::Operand(result)]);
    calls.push(sum);
    Implementation::of_calls(name, calls, vec![partial_sums])
}

/// The second pass of a split sum: `result[i] = sum over slices of slices[slice][i]`; binds the slices and
/// the result, in that order.
fn sum_slices(elements: usize, slices: usize) -> KernelCall {
    let mut call = unfinished_sum_slices(elements, slices, 1);
    Epilogue::NONE.complete(&mut call, 0);
    call
}

/// As [`sum_slices`], for a result `[..,channels]` that is still to be completed with an epilogue.
pub fn unfinished_sum_slices(elements: usize, slices: usize, channels: usize) -> KernelCall {
    let constants =
        vec![("ELEMENTS", elements.into()), ("CHANNELS", channels.into()), ("SLICES", slices.into())];
    KernelCall::elementwise(shader!("gemm/sum_slices.wgsl", "grid.wgsl"), constants, 2, elements)
}
