//! Long sums over positions, cut into slices that workgroups sum side by side.

use crate::device::DeviceProfile;
use crate::ops::gemm::most_slices;
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};

/// Workgroups that keep a multiprocessor busy.
const WORKGROUPS_PER_MULTIPROCESSOR: usize = 4;

/// Multiprocessors of a device that does not say.
const USUAL_MULTIPROCESSORS: usize = 32;

/// Steps that an invocation takes at least: with fewer, adding up the slices costs more than they save.
const FEWEST_STEPS: usize = 4;

/// A kernel that sums over positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSums {
    /// Sums.
    pub elements: usize,
    /// Workgroups that all sums take.
    pub blocks: usize,
    /// Steps of a sum.
    pub steps: usize,
    /// Steps that the invocations of a workgroup take side by side.
    pub side_by_side: usize,
    /// Iterations of an invocation's loops in a step, at most.
    pub trips: usize,
}

impl PartialSums {
    /// Slices that keep `device` busy.
    pub fn slices(&self, device: &DeviceProfile) -> usize {
        let multiprocessors = device.multiprocessors.map_or(USUAL_MULTIPROCESSORS, |count| count as usize);
        let wanted = (multiprocessors * WORKGROUPS_PER_MULTIPROCESSOR).div_ceil(self.blocks);
        let most = self.steps / (self.side_by_side * FEWEST_STEPS);
        let longest = self.side_by_side.saturating_mul((device.loop_trips() / self.trips).max(1));
        let room = most_slices(self.elements, device);
        wanted.min(most).max(self.steps.div_ceil(longest)).min(room).clamp(1, self.steps)
    }
}

/// Invocations of a workgroup that adds slices.
const INVOCATIONS: usize = 256;

/// Invocations that keep a device busy.
const ENOUGH_INVOCATIONS: usize = 32 << 10;

/// An implementation whose `call` writes `slices` partial sums of its `elements` results, the operand of number
/// `result`, and adds them in a second pass, in a fixed order.
pub fn in_partial_sums(
    name: &'static str,
    mut call: KernelCall,
    result: usize,
    elements: usize,
    slices: usize,
) -> Implementation {
    if slices == 1 {
        return Implementation::of(name, call);
    }
    call.bindings[result] = Binding::Workspace(0);
    let lanes = (ENOUGH_INVOCATIONS / elements).min(slices / 2).clamp(1, 32);
    let lanes = 1 << lanes.ilog2();
    let source = shader!("gemm/sum_slices_side_by_side.wgsl", "grid.wgsl")
        .with_sizes(&[("INVOCATIONS", INVOCATIONS as u32), ("LANES", lanes as u32)]);
    let sum = KernelCall::new(
        source,
        vec![("ELEMENTS", elements.into()), ("SLICES", slices.into())],
        vec![Binding::Workspace(0), Binding::Operand(result)],
        elements.div_ceil(INVOCATIONS / lanes),
    );
    Implementation::of_calls(name, vec![call, sum], vec![slices * elements])
}
