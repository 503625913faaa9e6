//! In what order: a network lowered to operations over numbered buffers, as plain data.

mod condense;
mod executor;
mod fuse;
mod halves;
mod lower;
mod memory;
mod site;
mod workbench;

pub use executor::{Executor, Pending, Prepared};
pub use fuse::Prologues;
pub(crate) use lower::CLIP_SCALE;
pub use lower::{
    AugmentOptions, DataParts, EvaluateOptions, ExplainPlan, LossOptions, Question, TrainOptions,
    evaluate_plan, explain_plan, inspect_plan, predict_plan, train_plan,
};
pub use memory::{Allocation, Memory, Slot};
pub(crate) use site::CHANCE;
pub use site::{Mode, Site};
pub use workbench::{ChosenBy, TimedBy, Workbench};

use std::collections::{HashMap, HashSet};

use crate::ops::{Element, HostBuffer, Op};
use crate::tensor::Shape;
use crate::{Error, Result};

/// Number of a buffer in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(usize);

impl BufferId {
    /// Position in [`Plan::buffers`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The training or test set, or images that the caller writes.
    Data,
    /// Weights and biases.
    Parameter,
    /// State beside the parameters that lasts from step to step: velocities, counters, schedules, losses.
    State,
    /// A layer's output.
    Activation,
    /// A gradient of the loss.
    Gradient,
    /// Scratch memory of a kernel.
    Workspace,
}

impl Role {
    /// Whether the content outlives a run. Such a buffer is shared by name among the plans of an executor.
    pub fn is_persistent(self) -> bool {
        matches!(self, Role::Data | Role::Parameter | Role::State)
    }
}

/// A buffer of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferSpec {
    /// `conv1.weight`, `conv1.output`, `train/order`, ...
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its sizes.
    pub shape: Shape,
    /// The type of its elements.
    pub element: Element,
    /// Whether the caller reads it after a run, so that nothing may reuse its memory.
    pub kept: bool,
}

impl BufferSpec {
    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        self.element.bytes(self.shape.elements())
    }
}

/// Buffers that lie side by side in memory, in this order, so that a kernel can bind them all at once.
///
/// If their role does not [persist](Role::is_persistent), they share their memory with no other buffer, and the gaps
/// between them are zero at all times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// `parameters`, `gradients`, `velocity`, ...
    pub name: String,
    /// The buffers: all of one role, all of reals.
    pub members: Vec<BufferId>,
}

/// An operation on buffers of a plan.
#[derive(Debug)]
pub struct Step {
    /// The operation.
    pub op: Box<dyn Op>,
    /// The buffer of each of its operands.
    pub operands: Vec<BufferId>,
}

/// A list of operations over numbered buffers, ready to be run by any executor.
#[derive(Debug, Default)]
pub struct Plan {
    /// The buffers.
    pub buffers: Vec<BufferSpec>,
    /// The buffers that lie side by side.
    pub arenas: Vec<Arena>,
    /// From images to the loss.
    pub forward: Vec<Step>,
    /// From the loss to the gradients of the parameters.
    pub backward: Vec<Step>,
    /// From the gradients to new parameters and the next step's number.
    pub update: Vec<Step>,
}

impl Plan {
    /// A plan of one operation. Its buffers are named after the operands and are all kept; a number is appended where
    /// several operands have the same name.
    pub fn of_op(op: Box<dyn Op>) -> Plan {
        let mut plan = Plan::default();
        let declared = op.operands();
        let operands: Vec<BufferId> = declared
            .iter()
            .enumerate()
            .map(|(number, operand)| {
                let role = if operand.access.reads() { Role::State } else { Role::Activation };
                let is_alone = declared.iter().filter(|other| other.name == operand.name).count() == 1;
                let name = if is_alone { operand.name.into() } else { format!("{}.{number}", operand.name) };
                let buffer = plan.add_buffer(name, role, operand.shape.clone(), operand.element);
                plan.keep(buffer);
                buffer
            })
            .collect();
        for range in op.side_by_side() {
            plan.lay_side_by_side(declared[range.start].name, operands[range].to_vec());
        }
        plan.forward.push(Step { op, operands });
        plan
    }

    /// All steps in the order of a run: forward, backward, update.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.forward.iter().chain(&self.backward).chain(&self.update)
    }

    /// The buffer with this name.
    pub fn find(&self, name: &str) -> Option<BufferId> {
        self.buffers.iter().position(|buffer| buffer.name == name).map(BufferId)
    }

    /// The buffer with this name, which must exist.
    ///
    /// # Panics
    /// When there is none, which is a bug of the caller.
    pub fn expect(&self, name: &str) -> BufferId {
        self.find(name).unwrap_or_else(|| panic!("the plan has no buffer {name}"))
    }

    /// The specification of a buffer.
    pub fn buffer(&self, id: BufferId) -> &BufferSpec {
        &self.buffers[id.0]
    }

    /// The buffers with this role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = BufferId> {
        (0..self.buffers.len()).map(BufferId).filter(move |&id| self.buffer(id).role == role)
    }

    /// Adds a buffer.
    pub fn add_buffer(
        &mut self,
        name: impl Into<String>,
        role: Role,
        shape: impl Into<Shape>,
        element: Element,
    ) -> BufferId {
        let (name, shape) = (name.into(), shape.into());
        self.buffers.push(BufferSpec { name, role, shape, element, kept: false });
        BufferId(self.buffers.len() - 1)
    }

    /// Adds a buffer for the gradient of another.
    pub fn add_gradient(&mut self, of: BufferId) -> BufferId {
        let spec = self.buffer(of);
        let (name, shape) = (format!("{}.grad", spec.name), spec.shape.clone());
        self.add_buffer(name, Role::Gradient, shape, Element::Real)
    }

    /// Lays buffers side by side in memory.
    pub fn lay_side_by_side(&mut self, name: impl Into<String>, members: Vec<BufferId>) {
        self.arenas.push(Arena { name: name.into(), members });
    }

    /// Keeps a buffer's content until the caller has read it.
    pub fn keep(&mut self, id: BufferId) {
        self.buffers[id.0].kept = true;
    }

    /// The buffers whose content is kept until the caller has read it.
    pub fn kept(&self) -> impl Iterator<Item = BufferId> {
        (0..self.buffers.len()).map(BufferId).filter(|id| self.buffers[id.0].kept)
    }

    /// The same plan up to the loss, with every buffer kept, for inspecting what each layer computed.
    pub fn for_inspection(mut self) -> Plan {
        self.backward.clear();
        self.update.clear();
        self.buffers.iter_mut().for_each(|buffer| buffer.kept = true);
        self
    }

    /// Checks that `data` fits a buffer.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it differs in number or kind of elements.
    pub fn check_content(&self, id: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        let spec = self.buffer(id);
        let wanted = spec.element.in_host_memory();
        if (data.len(), data.element()) != (spec.shape.elements(), wanted) {
            let expected = format!("{} elements of kind {wanted:?}", spec.shape.elements());
            return Err(Error::invalid(
                &spec.name,
                expected,
                format!("{} of kind {:?}", data.len(), data.element()),
            ));
        }
        Ok(())
    }

    /// For each buffer, the index of its arena, if it has one.
    ///
    /// # Panics
    /// When a buffer lies in two arenas, or when the members of an arena differ in role or are not reals: a bug in
    /// the lowering.
    pub fn arena_of_buffers(&self) -> Vec<Option<usize>> {
        let mut arena_of = vec![None; self.buffers.len()];
        for (number, Arena { name, members }) in self.arenas.iter().enumerate() {
            for member in members {
                let buffer = self.buffer(*member);
                assert_eq!(buffer.element, Element::Real, "{name}: {}", buffer.name);
                assert_eq!(buffer.role, self.buffer(members[0]).role, "{name}: {}", buffer.name);
                let before = arena_of[member.0].replace(number);
                assert_eq!(before, None, "{}: a buffer in two arenas", buffer.name);
            }
        }
        arena_of
    }

    /// Checks what executors rely on: a step binds one buffer of the right size to each operand, and no buffer twice;
    /// no buffer that is not persistent is read before it is written; operands that an operation needs side by side
    /// lie so; and no operation reads one buffer of an arena and writes another, since they share one buffer of the
    /// device.
    ///
    /// # Panics
    /// When the plan breaks one of these rules: a bug in the lowering.
    pub fn assert_valid(&self) {
        let arena_of = self.arena_of_buffers();
        let mut written: HashSet<BufferId> = HashSet::new();
        for Step { op, operands } in self.steps() {
            let declared = op.operands();
            let name = op.name();
            assert_eq!(declared.len(), operands.len(), "{name}: number of operands");
            assert_eq!(
                operands.iter().collect::<HashSet<_>>().len(),
                operands.len(),
                "{name}: a buffer bound twice"
            );
            for (operand, &id) in declared.iter().zip(operands) {
                let buffer = self.buffer(id);
                let what = format!("{name}: operand {} in buffer {}", operand.name, buffer.name);
                assert_eq!(operand.shape.elements(), buffer.shape.elements(), "{what}: elements");
                assert_eq!(operand.element, buffer.element, "{what}: kind of element");
                let ready = buffer.role.is_persistent() || written.contains(&id);
                assert!(ready || !operand.access.reads(), "{what}: read before it was written");
                if operand.access.writes() {
                    written.insert(id);
                }
            }
            for range in op.side_by_side() {
                let members = &operands[range];
                let mut arenas = self.arenas.iter();
                let lie_so =
                    arenas.any(|arena| arena.members.windows(members.len()).any(|few| few == members));
                assert!(lie_so, "{name}: operands that do not lie side by side");
            }
            let mut written_arenas: HashMap<usize, bool> = HashMap::new();
            for (operand, id) in declared.iter().zip(operands) {
                let Some(arena) = arena_of[id.0] else { continue };
                let writes = operand.access.writes();
                let before = *written_arenas.entry(arena).or_insert(writes);
                let arena = &self.arenas[arena].name;
                assert_eq!(before, writes, "{name}: reads and writes {arena}, which lie in one buffer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::add::Add;
    use crate::ops::optimizer::{Group, Update, UpdateOptions};

    fn update() -> Plan {
        let parameters = [(Group::Weight, 3), (Group::Bias, 2)];
        Plan::of_op(Box::new(Update::new(UpdateOptions::default(), parameters, 1).unwrap()))
    }

    #[test]
    fn what_an_operation_wants_side_by_side_lies_so() {
        let plan = update();
        plan.assert_valid();
        let names: Vec<&str> = plan.arenas.iter().map(|arena| arena.name.as_str()).collect();
        assert_eq!(names, ["parameter", "gradient"]);
        let members: Vec<&str> =
            plan.arenas[1].members.iter().map(|&id| plan.buffer(id).name.as_str()).collect();
        assert_eq!(members, ["gradient.2", "gradient.3"]);
    }

    #[test]
    #[should_panic(expected = "operands that do not lie side by side")]
    fn another_order_is_not_side_by_side() {
        let mut plan = update();
        plan.arenas[0].members.reverse();
        plan.assert_valid();
    }

    /// Both share one buffer of the device, which a launch cannot bind for reading and for writing.
    #[test]
    #[should_panic(expected = "add: reads and writes sums, which lie in one buffer")]
    fn one_member_is_not_read_while_another_is_written() {
        let mut plan = Plan::of_op(Box::new(Add { elements: 4 }));
        plan.buffers.iter_mut().for_each(|buffer| buffer.role = Role::State);
        plan.lay_side_by_side("sums", vec![plan.expect("b"), plan.expect("sum")]);
        plan.assert_valid();
    }

    #[test]
    #[should_panic(expected = "a: a buffer in two arenas")]
    fn a_buffer_lies_in_one_arena() {
        let mut plan = Plan::of_op(Box::new(Add { elements: 4 }));
        plan.lay_side_by_side("first", vec![plan.expect("a"), plan.expect("b")]);
        plan.lay_side_by_side("second", vec![plan.expect("a")]);
        plan.assert_valid();
    }
}
