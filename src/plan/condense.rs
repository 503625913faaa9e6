//! Condensing: a step leaves of a tensor what the next one makes of it, and winners for the backward pass. The operations
//! themselves decide what they can condense; no code here names an operation.

use super::fuse::writes;
use super::{BufferId, Plan, Role, Step};
use crate::ops::Op;

/// How a step of the forward pass can do without a tensor that it writes.
struct Condensation {
    /// The number of the operand that is the tensor.
    operand: usize,
    /// What the step becomes.
    condensed: Box<dyn Op>,
    /// The number of the step that has made something of the tensor, and its result.
    reducer: usize,
    result: BufferId,
    /// The step of the backward pass that has read the tensor, as which operand, and what it becomes.
    gradient: usize,
    place: usize,
    from_winners: Box<dyn Op>,
}

impl Plan {
    /// The same plan, in which a convolution that is followed by a max-pool leaves the pool's output and its winners, from which
    /// the pool's gradient is computed, instead of its own output: where nothing else uses that, and where it is not
    /// [kept](Plan::keep).
    ///
    /// The step that computes the gradient of the pool's output then stores that of its input alone, if it can.
    ///
    /// On a GPU that saves launches and most of the traffic between them. [Fuse](Plan::fused) the plan before.
    pub fn condensed(mut self) -> Plan {
        let mut number = 0;
        while number < self.forward.len() {
            if let Some(found) = self.condensation(number) {
                self.condense(number, found);
            }
            number += 1;
        }
        self
    }

    fn condensation(&self, number: usize) -> Option<Condensation> {
        (0..self.forward[number].operands.len()).find_map(|operand| self.condensation_of(number, operand))
    }

    fn condensation_of(&self, number: usize, operand: usize) -> Option<Condensation> {
        let Step { op, operands } = &self.forward[number];
        let tensor = operands[operand];
        let spec = self.buffer(tensor);
        let users = [&self.forward, &self.backward, &self.update]
            .map(|pass| users_of(pass, tensor).collect::<Vec<usize>>());
        let [[writer, reducer], [gradient], []] = users.each_ref().map(Vec::as_slice) else { return None };
        let (reducer, gradient) = (*reducer, *gradient);
        let next = &self.forward[reducer];
        let [taken, result] = next.operands[..] else { return None };
        let is_first = users_of(&self.forward, result).next() == Some(reducer);
        let is_left = self.steps().filter(|step| writes(step, result)).count() == 1;
        let fits = *writer == number && taken == tensor && is_first && is_left;
        if spec.kept || spec.role.is_persistent() || !fits {
            return None;
        }
        let of_gradient = &self.backward[gradient];
        let place = of_gradient.operands.iter().position(|&id| id == tensor)?;
        Some(Condensation {
            operand,
            condensed: op.condense(operand, next.op.as_ref())?,
            reducer,
            result,
            gradient,
            place,
            from_winners: of_gradient.op.reading_winners(place)?,
        })
    }

    fn condense(&mut self, number: usize, found: Condensation) {
        let Condensation { operand, condensed, reducer, result, gradient, place, from_winners } = found;
        let of_winners = condensed.operands().pop().expect("winners");
        let name = format!("{}.{}", self.buffer(result).name, of_winners.name);
        let winners = self.add_buffer(name, Role::Activation, of_winners.shape, of_winners.element);
        let step = &mut self.forward[number];
        step.op = condensed;
        step.operands[operand] = result;
        step.operands.push(winners);
        let step = &mut self.backward[gradient];
        step.operands[place] = winners;
        step.operands.extend((from_winners.operands().len() > step.operands.len()).then_some(result));
        step.op = from_winners;
        self.unpool_earlier(gradient);
        self.forward.remove(reducer);
    }

    /// Lets the step that writes a gradient also do what step `number` of the backward pass does to it, if it can, and if nothing
    /// else uses the gradient.
    fn unpool_earlier(&mut self, number: usize) {
        let Some((writer, step)) = self.unpooling_writer(number) else { return };
        self.backward[writer] = step;
        self.backward.remove(number);
    }

    /// The number of that step of the backward pass, and the step that does both.
    fn unpooling_writer(&self, number: usize) -> Option<(usize, Step)> {
        let next = &self.backward[number];
        let written = next.op.operands().iter().position(|operand| operand.access.writes())?;
        let taken = next.operands.iter().find_map(|&gradient| {
            let users: Vec<usize> = users_of(&self.backward, gradient).collect();
            let [writer, user] = users[..] else { return None };
            let others = users_of(&self.forward, gradient).chain(users_of(&self.update, gradient)).count();
            let spec = self.buffer(gradient);
            let is_left = spec.kept || spec.role.is_persistent() || others > 0;
            let is_free = !is_left && user == number && writes(&self.backward[writer], gradient);
            is_free.then_some((writer, gradient))
        });
        let (writer, gradient) = taken?;
        let Step { op, operands } = &self.backward[writer];
        let operand = operands.iter().position(|&id| id == gradient)?;
        let result = next.operands[written];
        let further = next.operands.iter().copied().filter(|&id| id != gradient && id != result);
        let further: Vec<BufferId> = further.collect();
        let is_read_before = users_of(&self.backward[..number], result).next().is_some();
        let is_bound_twice = further.iter().any(|id| operands.contains(id));
        let is_changed = |id: &BufferId| self.backward[writer..number].iter().any(|step| writes(step, *id));
        let fits = !is_read_before && !is_bound_twice && !further.iter().any(is_changed);
        let op = fits.then(|| op.unpool(operand, next.op.as_ref()))??;
        let mut operands = operands.clone();
        operands[operand] = result;
        operands.extend(further);
        Some((writer, Step { op, operands }))
    }
}

/// Numbers of the steps of a pass that bind a buffer.
fn users_of(pass: &[Step], buffer: BufferId) -> impl Iterator<Item = usize> {
    let steps = pass.iter().enumerate();
    steps.filter(move |(_, step)| step.operands.contains(&buffer)).map(|(number, _)| number)
}
