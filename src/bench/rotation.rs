//! Runs of an operation that read different copies of its inputs in turn, so that these are in no cache.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::ops::{HostBuffer, Op, Operand};
use crate::plan::{BufferId, Executor, Plan, Prepared, Role, Step, Workbench};
use crate::{Result, host_memory};

/// Most copies. If the inputs are so small that these copies fit a cache, runs find them there.
const MOST_COPIES: u64 = 1000;

/// What takes less memory, for the message when there is too little.
const ADVICE: &str = "a smaller batch";

/// Number of copies of the inputs of `op` that together are larger than `cache_bytes`; one if that is zero.
pub(super) fn copies(op: &dyn Op, cache_bytes: u64) -> usize {
    let read = op.operands().into_iter().filter(|operand| operand.access.reads());
    let bytes: u64 = read.map(|operand| operand.element.bytes(operand.shape.elements())).sum();
    (cache_bytes / bytes.max(1) + 1).min(MOST_COPIES) as usize
}

/// An operation on random inputs, prepared to run on one copy of them after the other.
///
/// All runs write the same output. It may stay in a cache after it was written, in training as here; and since a run
/// must wait for earlier ones that write the same buffer, runs do not overlap.
#[derive(Debug)]
pub(super) struct Rotation {
    plans: Vec<Prepared>,
    runs_each: usize,
    next: usize,
}

impl Rotation {
    /// Runs that last longer than `sample` together are divided over several plans, so that a sample need not cover
    /// all copies.
    pub fn prepare(
        executor: &mut dyn Workbench,
        op: &dyn Fn() -> Box<dyn Op>,
        copies: usize,
        sample: Duration,
    ) -> Result<Rotation> {
        // Buffers are shared by name, and those of the previous operation have other sizes.
        executor.clear();
        let single = Rotation::of_plans(executor, op, 1, 1)?;
        if copies == 1 {
            return Ok(single);
        }
        executor.time(single.plans[0], 1)?;
        let once = executor.time(single.plans[0], 1)?;
        let in_sample = sample.as_nanos() / once.as_nanos().max(1);
        let runs_each = (in_sample as usize).clamp(1, copies);
        executor.clear();
        Rotation::of_plans(executor, op, copies.div_ceil(runs_each), runs_each)
    }

    fn of_plans(
        executor: &mut dyn Executor,
        op: &dyn Fn() -> Box<dyn Op>,
        plans: usize,
        runs_each: usize,
    ) -> Result<Rotation> {
        let plans: Vec<Arc<Plan>> = (0..plans)
            .map(|number| Arc::new(plan(op, number * runs_each..(number + 1) * runs_each)))
            .collect();
        let first = op();
        let (what, operands) = (first.name(), first.operands());
        let is_input = |operand: &&Operand| operand.access.reads() && operand.element.is_real();
        let inputs = operands.iter().filter(is_input);
        let inputs: u64 = inputs.map(|operand| operand.element.bytes(operand.shape.elements())).sum();
        plans.iter().try_for_each(|plan| executor.check(plan))?;
        let all: Vec<&Plan> = plans.iter().map(Arc::as_ref).collect();
        host_memory::check(what, executor.host_bytes(&all) + inputs, ADVICE)?;

        // Inputs are written after every step that may refuse the sizes.
        let prepared = plans.iter().map(|plan| executor.prepare(plan.clone())).collect::<Result<_>>()?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let input = |operand: &Operand| {
            if !is_input(&operand) {
                return Ok(None);
            }
            let mut values = host_memory::reserved(what, operand.shape.elements(), ADVICE)?;
            values.extend((0..operand.shape.elements()).map(|_| rng.random_range(-1.0f32..=1.0)));
            Ok(Some(HostBuffer::real(values)))
        };
        let inputs: Vec<Option<HostBuffer<f32>>> = operands.iter().map(input).collect::<Result<_>>()?;
        let rotation = Rotation { plans: prepared, runs_each, next: 0 };
        for (plan, &prepared) in plans.iter().zip(&rotation.plans) {
            for step in &plan.forward {
                for (&buffer, input) in step.operands.iter().zip(&inputs) {
                    if let Some(input) = input {
                        executor.write(prepared, buffer, input)?;
                    }
                }
            }
        }
        Ok(rotation)
    }

    /// Number of runs of the operation in one run of a plan.
    pub fn runs_each(&self) -> usize {
        self.runs_each
    }

    /// Time of running `times` plans, starting where the last call stopped.
    pub fn time(&mut self, executor: &mut dyn Workbench, times: usize) -> Result<Duration> {
        if let [plan] = self.plans[..] {
            return executor.time(plan, times);
        }
        let mut sum = Duration::ZERO;
        for _ in 0..times {
            sum += executor.time(self.plans[self.next], 1)?;
            self.next = (self.next + 1) % self.plans.len();
        }
        Ok(sum)
    }
}

/// A plan with one step per copy: each step reads its own buffers, named after its number, and all write the same
/// buffer.
fn plan(op: &dyn Fn() -> Box<dyn Op>, copies: Range<usize>) -> Plan {
    let mut plan = Plan::default();
    let mut written: HashMap<&'static str, BufferId> = HashMap::new();
    for copy in copies {
        let op = op();
        let mut operands = Vec::new();
        for operand in op.operands() {
            let mut add = |name| {
                let id = plan.add_buffer(name, Role::State, operand.shape.clone(), operand.element);
                plan.keep(id);
                id
            };
            operands.push(match operand.access.reads() {
                true => add(format!("{} {copy}", operand.name)),
                false => *written.entry(operand.name).or_insert_with(|| add(operand.name.into())),
            });
        }
        plan.forward.push(Step { op, operands });
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::bench::{Pass, suite};
    use crate::host::CpuExecutor;
    use crate::ops::Operands;

    #[test]
    fn every_copy_holds_the_inputs_and_gives_the_definitions_answer() {
        let geometry = suite("small").unwrap()[1].clone().with_batch_size(1).unwrap().geometry;
        for pass in Pass::ALL {
            let op = || pass.op(geometry);
            let mut executor = CpuExecutor::new();
            // There is no time for several runs in a sample: one plan per copy.
            let mut rotation = Rotation::prepare(&mut executor, &op, 3, Duration::ZERO).unwrap();
            assert_eq!((rotation.plans.len(), rotation.runs_each()), (3, 1));
            for number in 0..3 {
                assert_answers(&mut executor, &mut rotation, number, &plan(&op, number..number + 1));
                assert_eq!(rotation.next, (number + 1) % 3);
            }
            // There is time for all of them: one plan.
            let mut rotation = Rotation::prepare(&mut executor, &op, 3, Duration::from_secs(3600)).unwrap();
            assert_eq!((rotation.plans.len(), rotation.runs_each()), (1, 3));
            assert_answers(&mut executor, &mut rotation, 0, &plan(&op, 0..3));
        }
    }

    /// Runs the next plan in turn, and asserts that it is `number` and that its answer is the definition's.
    fn assert_answers(executor: &mut CpuExecutor, rotation: &mut Rotation, number: usize, plan: &Plan) {
        let prepared = rotation.plans[number];
        let output = *plan.forward[0].operands.last().unwrap();
        let nothing = vec![f32::NAN; plan.buffer(output).shape.elements()];
        executor.write(prepared, output, &HostBuffer::real(nothing)).unwrap();
        rotation.time(executor, 1).unwrap();
        let mut inputs = Vec::new();
        for step in &plan.forward {
            let read = |&buffer: &BufferId| executor.read(prepared, buffer).unwrap();
            let mut found: Vec<HostBuffer<f32>> = step.operands.iter().map(read).collect();
            let reals = found.iter().map(|buffer| buffer.map_reals(|&value| f64::from(value)));
            let mut expected = Operands::new(reals.collect());
            step.op.define(&mut expected);
            let number = found.len() - 1;
            let (expected, output) = (expected.into_buffers().pop().unwrap(), found.pop().unwrap());
            for (expected, output) in expected.reals().iter().zip(output.reals()) {
                assert!((expected - f64::from(*output)).abs() <= step.op.precision_of(number).bound());
            }
            inputs.push(found);
        }
        assert!(inputs.iter().all(|copy| copy == &inputs[0]), "copies that differ");
        let buffers: HashSet<BufferId> = plan.forward.iter().flat_map(|step| step.operands.clone()).collect();
        assert_eq!(buffers.len(), 2 * plan.forward.len() + 1, "two inputs a step, and one output");
    }

    #[test]
    fn copies_exceed_the_cache_and_are_not_too_many() {
        // Input 8x14x14x256 and filters 64x256 in f32.
        let op = Pass::Forward.op(suite("small").unwrap()[5].geometry);
        let bytes = 4 * (8 * 14 * 14 * 256 + 64 * 256);
        assert_eq!(copies(op.as_ref(), 0), 1);
        assert_eq!(copies(op.as_ref(), bytes - 1), 1);
        assert_eq!(copies(op.as_ref(), bytes), 2);
        assert_eq!(copies(op.as_ref(), 10 * bytes + 1), 11);
        assert_eq!(copies(op.as_ref(), u64::MAX), 1000);
    }
}
