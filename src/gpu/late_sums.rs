//! Sums that wait: where an operation sums in slices, and its result is read by the update alone, its slices are added by the
//! update, or, where it cannot, just before it, those of all operations in one launch.

use std::ops::Range;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, SliceSum};
use crate::ops::span::side_by_side;
use crate::ops::{LateSum, SumTable};
use crate::plan::{Arena, BufferId, Plan, Step};

/// Most elements of the slices of a sum that waits. They are read from memory then, and no longer from the caches of the
/// device: for 4 MiB, at two to five TB/s, that takes as long as the launch that it saves.
const MOST_ELEMENTS: usize = 1 << 20;

/// Sums of several operations that are added at once.
#[derive(Debug)]
pub struct LateSums {
    /// The scratch buffers that hold the slices, by the numbers of their steps and their own. They lie side by side, in this
    /// order, until the sums are added.
    pub slices: Vec<(usize, usize)>,
    /// What the workgroups add.
    pub table: SumTable,
    /// The number of the step that reads them first.
    pub reader: usize,
    /// The launch before that step that adds them, which binds as scratch buffers 0 and 1 the slices and the table, and as operand 0
    /// the results; none if the step adds them itself, whose scratch buffers are these.
    pub launch: Option<Implementation>,
    /// Buffers side by side, among which are all results.
    pub results: Vec<BufferId>,
    /// Each sum, with its result and the place of its first slice among all slices.
    sums: Vec<(BufferId, SliceSum, usize)>,
}

/// A sum that can wait.
struct Waiting {
    step: usize,
    result: BufferId,
    sum: SliceSum,
    /// Where its result begins among the results.
    first_result: usize,
}

impl LateSums {
    /// The number of the first step of the update, for which sums wait.
    fn update_of(plan: &Plan) -> usize {
        plan.forward.len() + plan.backward.len()
    }

    /// Takes the sums that can wait from the implementations chosen for the steps of a plan. One launch adds slices of at most
    /// `most_bytes`, and no more than the device can bind: with 0, no sum waits. Nor does any where there is no update.
    pub fn take_from(
        plan: &Plan,
        chosen: &mut [Implementation],
        device: &DeviceProfile,
        most_bytes: u64,
    ) -> Vec<LateSums> {
        let mut launches: Vec<LateSums> = Vec::new();
        if plan.update.is_empty() {
            return launches;
        }
        for Arena { members, .. } in &plan.arenas {
            if members.iter().any(|&id| plan.buffer(id).role.is_persistent()) {
                continue;
            }
            let sizes: Vec<usize> = members.iter().map(|&id| plan.buffer(id).shape.elements()).collect();
            for span in side_by_side(&sizes, device.largest_buffer()) {
                let results = &members[span.tensors];
                let waiting = results.iter().zip(&span.offsets).filter_map(|(&id, &first_result)| {
                    let (step, sum) = sum_that_waits(plan, chosen, id)?;
                    Some(Waiting { step, result: id, sum, first_result })
                });
                let waiting: Vec<Waiting> = waiting.collect();
                let elements: Vec<usize> =
                    waiting.iter().map(|waiting| waiting.sum.elements * waiting.sum.slices).collect();
                for slices in side_by_side(&elements, device.largest_buffer().min(most_bytes)) {
                    // A single one gains nothing.
                    let together: Range<usize> = slices.tensors;
                    if together.len() > 1 {
                        launches.push(Self::of(plan, &waiting[together], &slices.offsets, results, device));
                    }
                }
            }
        }
        for (step, scratch) in launches.iter().flat_map(|late| &late.slices) {
            chosen[*step].without_slice_sum(*scratch);
        }
        // A kernel binds the slices of one launch.
        if let [late] = &mut launches[..] {
            let reader = &plan.update[late.reader - Self::update_of(plan)];
            late.leave_to(reader, &mut chosen[late.reader], device);
        }
        launches
    }

    /// Replaces the launch by a way to run `reader` that adds the slices itself, if there is one.
    fn leave_to(&mut self, reader: &Step, chosen: &mut Implementation, device: &DeviceProfile) {
        let of_reader = |&(result, sum, first_slice): &(BufferId, SliceSum, usize)| {
            let operand = reader.operands.iter().position(|&id| id == result)?;
            Some(LateSum { operand, first_slice, sum })
        };
        let sums: Option<Vec<LateSum>> = self.sums.iter().map(of_reader).collect();
        let adding = sums.and_then(|sums| reader.op.adding_slices(&sums, device));
        // One that is cut into pieces would run for long enough without sums.
        if let (Some((adding, table)), 1) = (adding, chosen.calls.len()) {
            (*chosen, self.table, self.launch) = (adding, table, None);
        }
    }

    fn of(
        plan: &Plan,
        waiting: &[Waiting],
        offsets: &[usize],
        results: &[BufferId],
        device: &DeviceProfile,
    ) -> LateSums {
        let reads = |step: &Step| step.operands.iter().any(|id| results.contains(id));
        let mut table = SumTable::default();
        for (Waiting { sum, first_result, .. }, &first_slice) in waiting.iter().zip(offsets) {
            table.push(sum, first_slice, *first_result, device);
        }
        LateSums {
            slices: waiting.iter().map(|waiting| (waiting.step, waiting.sum.scratch)).collect(),
            reader: Self::update_of(plan) + plan.update.iter().position(reads).unwrap_or(0),
            launch: Some(Implementation::of("sum_slices_late", table.call(device))),
            table,
            results: results.to_vec(),
            sums: waiting
                .iter()
                .zip(offsets)
                .map(|(waiting, &first)| (waiting.result, waiting.sum, first))
                .collect(),
        }
    }
}

/// The step that writes a buffer as a sum of slices, if no other step uses the buffer before the update.
fn sum_that_waits(plan: &Plan, chosen: &[Implementation], buffer: BufferId) -> Option<(usize, SliceSum)> {
    let steps = plan.steps().enumerate().take(LateSums::update_of(plan));
    let mut users = steps.filter(|(_, step)| step.operands.contains(&buffer));
    let (Some((number, step)), None) = (users.next(), users.next()) else { return None };
    let sum = chosen[number].slice_sums.iter().find(|sum| step.operands[sum.result] == buffer)?;
    (sum.elements * sum.slices <= MOST_ELEMENTS).then_some((number, *sum))
}
