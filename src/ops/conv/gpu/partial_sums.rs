//! Long sums over positions, split into slices that workgroups sum in parallel.

use crate::device::DeviceProfile;
use crate::ops::gemm::most_slices;
use crate::ops::kernel::{Binding, Implementation, KernelCall, grid, shader};

/// Number of workgroups that keep a multiprocessor busy.
const WORKGROUPS_PER_MULTIPROCESSOR: usize = 4;

/// Number of multiprocessors assumed if the device does not report it.
const USUAL_MULTIPROCESSORS: usize = 32;

/// The smallest number of steps of an invocation: with fewer, adding the slices costs more than they save.
const FEWEST_STEPS: usize = 4;

/// A kernel that sums over positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSums {
    /// Number of sums.
    pub elements: usize,
    /// Number of workgroups for all sums.
    pub blocks: usize,
    /// Number of steps of a sum.
    pub steps: usize,
    /// Number of steps that the invocations of a workgroup take in parallel.
    pub side_by_side: usize,
    /// The largest number of iterations of an invocation's loops per step.
    pub trips: usize,
}

impl PartialSums {
    /// Number of slices that keep `device` busy.
    pub fn slices(&self, device: &DeviceProfile) -> usize {
        let multiprocessors = device.multiprocessors.map_or(USUAL_MULTIPROCESSORS, |count| count as usize);
        let wanted = (multiprocessors * WORKGROUPS_PER_MULTIPROCESSOR).div_ceil(self.blocks);
        let most = self.steps / (self.side_by_side * FEWEST_STEPS);
        let longest = self.side_by_side.saturating_mul((device.loop_trips() / self.trips).max(1));
        let room = most_slices(self.elements, device);
        wanted.min(most).max(self.steps.div_ceil(longest)).min(room).clamp(1, self.steps)
    }
}

/// Number of invocations in a workgroup that adds slices.
const INVOCATIONS: usize = 256;

/// Number of invocations that keep a device busy.
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
    let sum = KernelCall {
        source: shader!("gemm/sum_slices_side_by_side.wgsl")
            .with_sizes(&[("INVOCATIONS", INVOCATIONS as u32), ("LANES", lanes as u32)]),
        constants: vec![("ELEMENTS", elements.into()), ("SLICES", slices.into())],
        bindings: vec![Binding::Workspace(0), Binding::Operand(result)],
        workgroups: grid(elements.div_ceil(INVOCATIONS / lanes)),
    };
    Implementation::of_calls(name, vec![call, sum], vec![slices * elements])
}
