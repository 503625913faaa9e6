//! Assigning buffers to memory, and the amount of memory that a plan takes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Add;

use super::{Arena, BufferSpec, Plan, Role};
use crate::ops::Element;
use crate::ops::span::padded;

/// A piece of device memory that holds one buffer, or several whose lifetimes do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The role of the first buffer that it holds.
    pub role: Role,
    /// The type of its elements.
    pub element: Element,
    /// Number of its elements.
    pub elements: usize,
}

/// The memory of each buffer and each scratch buffer of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// The pieces of memory.
    pub slots: Vec<Slot>,
    /// The slot of each buffer; `None` for persistent buffers, which belong to the executor, and for unused ones.
    pub of_buffer: Vec<Option<usize>>,
    /// The slots of the scratch buffers of each step.
    pub of_workspace: Vec<Vec<usize>>,
    /// Slots that lie side by side, one list for each arena that does not persist.
    pub arenas: Vec<Vec<usize>>,
}

impl Allocation {
    /// Gives every buffer of `plan` memory from its first step to its last. `workspace` holds the number of elements
    /// of each scratch buffer of each step; scratch buffers live for that step alone, except for those in `lasting`, by the
    /// numbers of their steps and their own: those of each list lie side by side and live for the whole run.
    ///
    /// Each buffer of an arena has a slot of its own for the whole run. Any other buffer takes the smallest free slot
    /// that is large enough, so that memory is reused once its last reader is done, and never while a step still uses
    /// it.
    pub fn new(plan: &Plan, workspace: &[Vec<usize>], lasting: &[Vec<(usize, usize)>]) -> Self {
        let mut last_use = vec![None; plan.buffers.len()];
        for (number, step) in plan.steps().enumerate() {
            for id in &step.operands {
                last_use[id.index()] = Some(number);
            }
        }
        let mut slots: Vec<Slot> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut of_buffer = vec![None; plan.buffers.len()];
        let mut of_workspace = Vec::new();
        let mut arenas = Vec::new();
        for Arena { members, .. } in &plan.arenas {
            let persists = members.iter().any(|&id| plan.buffer(id).role.is_persistent());
            if persists || members.iter().all(|id| last_use[id.index()].is_none()) {
                continue;
            }
            let first = slots.len();
            for &id in members {
                let BufferSpec { role, element, shape, .. } = plan.buffer(id);
                of_buffer[id.index()] = Some(slots.len());
                slots.push(Slot { role: *role, element: *element, elements: shape.elements() });
                // No other buffer may reuse its slot.
                last_use[id.index()] = None;
            }
            arenas.push((first..slots.len()).collect());
        }
        let mut of_lasting = HashMap::new();
        for list in lasting {
            let first = slots.len();
            for &(step, scratch) in list {
                of_lasting.insert((step, scratch), slots.len());
                let elements = workspace[step][scratch];
                slots.push(Slot { role: Role::Workspace, element: Element::Real, elements });
            }
            arenas.push((first..slots.len()).collect());
        }
        let mut take = |free: &mut Vec<usize>, role, element, elements| {
            let fits = |&(_, &slot): &(usize, &usize)| {
                let slot: Slot = slots[slot];
                slot.element == element && slot.elements >= elements
            };
            match free.iter().enumerate().filter(fits).min_by_key(|&(_, &slot)| slots[slot].elements) {
                Some((position, _)) => free.swap_remove(position),
                None => {
                    slots.push(Slot { role, element, elements });
                    slots.len() - 1
                }
            }
        };
        for (number, step) in plan.steps().enumerate() {
            for &id in &step.operands {
                let buffer = plan.buffer(id);
                if of_buffer[id.index()].is_none() && !buffer.role.is_persistent() {
                    let slot = take(&mut free, buffer.role, buffer.element, buffer.shape.elements());
                    of_buffer[id.index()] = Some(slot);
                }
            }
            let scratch = workspace.get(number).map_or(&[][..], Vec::as_slice);
            let mut passing = Vec::new();
            let of_step = scratch.iter().enumerate().map(|(own, &elements)| {
                of_lasting.get(&(number, own)).copied().unwrap_or_else(|| {
                    passing.push(take(&mut free, Role::Workspace, Element::Real, elements));
                    passing[passing.len() - 1]
                })
            });
            of_workspace.push(of_step.collect());
            free.extend(passing);
            for &id in &step.operands {
                if let Some(slot) = of_buffer[id.index()]
                    && last_use[id.index()] == Some(number)
                    && !plan.buffer(id).kept
                {
                    free.push(slot);
                }
            }
        }
        Allocation { slots, of_buffer, of_workspace, arenas }
    }
}

/// The device memory of a plan, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// The dataset.
    pub data: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Velocities, counters, schedules and losses.
    pub state: u64,
    /// Layers' outputs.
    pub activations: u64,
    /// Gradients of the parameters, and others for which no activation's memory was free.
    pub gradients: u64,
    /// Scratch memory of kernels.
    pub workspace: u64,
    /// The largest single buffer.
    pub largest: u64,
}

impl Memory {
    /// The memory of `plan` with this allocation, on a device where the buffers of an arena lie side by side.
    pub fn new(plan: &Plan, allocation: &Allocation) -> Self {
        let arena_of = plan.arena_of_buffers();
        let elements = |id: usize| {
            let elements = plan.buffers[id].shape.elements();
            if arena_of[id].is_some() { padded(elements) } else { elements }
        };
        let mut slots: Vec<usize> = allocation.slots.iter().map(|slot| slot.elements).collect();
        allocation.arenas.iter().flatten().for_each(|&slot| slots[slot] = padded(slots[slot]));
        Self::of_sizes(plan, allocation, elements, |slot| slots[slot], Element::bytes)
    }

    /// The memory of `plan` on the host, where every buffer is separate and `bytes` gives the size of its elements.
    pub fn apart(plan: &Plan, allocation: &Allocation, bytes: impl Fn(Element, usize) -> u64) -> Self {
        let elements = |id: usize| plan.buffers[id].shape.elements();
        Self::of_sizes(plan, allocation, elements, |slot| allocation.slots[slot].elements, bytes)
    }

    /// The sums, from the number of elements of each persistent buffer and of each slot.
    fn of_sizes(
        plan: &Plan,
        allocation: &Allocation,
        of_buffer: impl Fn(usize) -> usize,
        of_slot: impl Fn(usize) -> usize,
        bytes: impl Fn(Element, usize) -> u64,
    ) -> Self {
        let mut memory = Memory::default();
        let persistent = plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.role.is_persistent());
        let slots = allocation.slots.iter().enumerate();
        for (role, bytes) in persistent
            .map(|(id, buffer)| (buffer.role, bytes(buffer.element, of_buffer(id))))
            .chain(slots.map(|(number, slot)| (slot.role, bytes(slot.element, of_slot(number)))))
        {
            *memory.of(role) += bytes;
            memory.largest = memory.largest.max(bytes);
        }
        memory
    }

    fn of(&mut self, role: Role) -> &mut u64 {
        match role {
            Role::Data => &mut self.data,
            Role::Parameter => &mut self.parameters,
            Role::State => &mut self.state,
            Role::Activation => &mut self.activations,
            Role::Gradient => &mut self.gradients,
            Role::Workspace => &mut self.workspace,
        }
    }

    /// The total.
    pub fn total(&self) -> u64 {
        self.data + self.parameters + self.state + self.activations + self.gradients + self.workspace
    }
}

impl Add for Memory {
    type Output = Memory;

    fn add(self, other: Memory) -> Memory {
        Memory {
            data: self.data + other.data,
            parameters: self.parameters + other.parameters,
            state: self.state + other.state,
            activations: self.activations + other.activations,
            gradients: self.gradients + other.gradients,
            workspace: self.workspace + other.workspace,
            largest: self.largest.max(other.largest),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.1} MiB: data {:.1}, weights {:.1}, state {:.1}, activations {:.1}, gradients {:.1}, workspace {:.1}",
            mib(self.total()),
            mib(self.data),
            mib(self.parameters),
            mib(self.state),
            mib(self.activations),
            mib(self.gradients),
            mib(self.workspace)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::presets;
    use crate::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
    use crate::plan::{DataParts, LossOptions, TrainOptions, train_plan};
    use crate::tensor::ImageShape;

    #[test]
    fn buffers_that_live_at_the_same_time_never_share_memory() {
        let image = ImageShape { height: 12, width: 12, channels: 3 };
        let network = presets::vgg_mini(image, 10).unwrap();
        let data = DataParts { name: "train", image, classes: 10, rows: vec![64] };
        let optimizer = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: false });
        let update = UpdateOptions { optimizer, ..UpdateOptions::default() };
        let mut plan = train_plan(
            &network,
            &TrainOptions {
                batch_size: 4,
                steps: 2,
                data,
                loss: LossOptions::default(),
                update,
                augment: None,
            },
        )
        .unwrap();
        let kept = plan.expect("conv1.output");
        plan.keep(kept);
        let workspace: Vec<Vec<usize>> = plan.steps().map(|_| vec![100, 5_000]).collect();
        let lasting = [vec![(3, 0), (7, 0), (7, 1), (12, 0)], vec![(8, 1), (9, 0)]];
        let allocation = Allocation::new(&plan, &workspace, &lasting);

        // The slots that each step uses, and the buffer that each slot holds from step to step.
        let last_use =
            |buffer| plan.steps().enumerate().filter(|(_, step)| step.operands.contains(&buffer)).last();
        let mut owners = vec![None; allocation.slots.len()];
        for (number, step) in plan.steps().enumerate() {
            let mut used = allocation.of_workspace[number].clone();
            used.iter().for_each(|&slot| assert_eq!(allocation.slots[slot].element, Element::Real));
            for &buffer in &step.operands {
                let Some(slot) = allocation.of_buffer[buffer.index()] else { continue };
                used.push(slot);
                assert!(allocation.slots[slot].elements >= plan.buffer(buffer).shape.elements());
                assert_eq!(allocation.slots[slot].element, plan.buffer(buffer).element);
                if let Some((owner, until)) = owners[slot]
                    && owner != buffer
                {
                    assert!(until < number, "{owner:?} is still needed");
                    assert_ne!(owner, kept, "a kept buffer is overwritten");
                }
                owners[slot] = Some((buffer, last_use(buffer).unwrap().0));
            }
            for &slot in &allocation.of_workspace[number] {
                assert!(owners[slot].is_none_or(|(owner, until)| until < number && owner != kept));
            }
            for slots in &allocation.arenas[allocation.arenas.len() - lasting.len()..] {
                // A step works on slots that last as the scratch buffers that are to last, and as nothing else.
                let lasts = |own: usize| lasting.iter().flatten().any(|&place| place == (number, own));
                let own = (0..2).filter(|&own| lasts(own) && slots.contains(&used[own])).count();
                assert_eq!(used.iter().filter(|slot| slots.contains(slot)).count(), own, "step {number}");
            }
            let count = used.len();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), count, "step {number} works on one slot twice");
        }

        let shared = Memory::new(&plan, &allocation);
        plan.buffers.iter_mut().for_each(|buffer| buffer.kept = true);
        let apart = Memory::new(&plan, &Allocation::new(&plan, &workspace, &lasting));
        assert!(shared.total() < apart.total());
        assert_eq!(
            (shared.data, shared.parameters, shared.state),
            (apart.data, apart.parameters, apart.state)
        );
    }
}
