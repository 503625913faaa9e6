//! The executor that keeps buffers in host memory; what an operation runs as depends on the type of reals.

use std::collections::HashMap;
use std::sync::Arc;

use super::executor::Ready;
use super::{Allocation, BufferId, Executor, Memory, Pending, Plan, Prepared, Step};
use crate::Result;
use crate::ops::{CpuForm, Element, HostBuffer, Op, Operands};

/// A type of real numbers, and the form of an operation that works on it.
pub trait Real: Copy + Default + Send + 'static {
    /// The forms of an operation that work on this type, best guess first.
    fn forms(op: &dyn Op) -> Vec<CpuForm>;
    /// What [`Executor::device_name`] answers.
    fn device_name() -> String;
    /// Runs the operation in one of its forms.
    fn run(op: &dyn Op, form: &'static str, operands: &mut Operands<Self>);
    /// Rounds to f32.
    fn to_f32(self) -> f32;
    /// Widens from f32.
    fn from_f32(value: f32) -> Self;
    /// NaN.
    const NAN: Self;
}

/// Runs plans in host memory.
#[derive(Debug, Default)]
pub struct HostExecutor<T> {
    memory: Vec<HostBuffer<T>>,
    persistent: HashMap<String, usize>,
    plans: Vec<PreparedPlan>,
    preferred: Option<String>,
    // The operands of one step after the other: empty between them, and never taken anew.
    operands: Vec<HostBuffer<T>>,
}

#[derive(Debug)]
struct PreparedPlan {
    plan: Arc<Plan>,
    // Where each buffer lies in the executor's memory.
    places: Vec<Option<usize>>,
    // What each step runs as.
    forms: Vec<&'static str>,
}

impl<T: Real> HostExecutor<T> {
    /// An executor without plans.
    pub fn new() -> Self {
        HostExecutor {
            memory: Vec::new(),
            persistent: HashMap::new(),
            plans: Vec::new(),
            preferred: None,
            operands: Vec::new(),
        }
    }

    /// A buffer's content, without conversion.
    pub fn buffer(&self, prepared: Prepared, buffer: BufferId) -> &HostBuffer<T> {
        &self.memory[self.place(prepared, buffer)]
    }

    /// A buffer's content, to be changed without conversion.
    pub fn buffer_mut(&mut self, prepared: Prepared, buffer: BufferId) -> &mut HostBuffer<T> {
        let place = self.place(prepared, buffer);
        &mut self.memory[place]
    }

    fn place(&self, prepared: Prepared, buffer: BufferId) -> usize {
        self.plans[prepared.0].places[buffer.index()].expect("a buffer that some step uses")
    }

    /// The form of the preferred name, or else the best.
    fn form(&self, op: &dyn Op) -> &'static str {
        let forms = T::forms(op);
        let preferred = forms.iter().find(|form| self.preferred.as_deref() == Some(form.name));
        preferred.unwrap_or(&forms[0]).name
    }

    /// Fills the memory of one plan with NaN, so that an operation that reads what nobody has written shows.
    fn poison(&mut self, first: usize) {
        for buffer in self.memory[first..].iter_mut().filter(|buffer| buffer.element() == Element::Real) {
            buffer.reals_mut().fill(T::NAN);
        }
    }

    fn run_step(&mut self, step: &Step, form: &'static str, places: &[Option<usize>], plan: &Plan) {
        let place = |id: &BufferId| places[id.index()].expect("every operand has a place");
        let mut buffers = std::mem::take(&mut self.operands);
        buffers.extend(step.operands.iter().map(|id| {
            let mut buffer = std::mem::take(&mut self.memory[place(id)]);
            buffer.resize_within(plan.buffer(*id).shape.elements());
            buffer
        }));
        let mut operands = Operands::new(buffers);
        T::run(step.op.as_ref(), form, &mut operands);
        let mut buffers = operands.into_buffers();
        for (id, buffer) in step.operands.iter().zip(buffers.drain(..)) {
            self.memory[place(id)] = buffer;
        }
        self.operands = buffers;
    }
}

impl<T: Real> Executor for HostExecutor<T> {
    fn device_name(&self) -> String {
        T::device_name()
    }

    fn max_buffer_bytes(&self) -> u64 {
        u64::MAX
    }

    fn implementations(&self, op: &dyn Op) -> Vec<&'static str> {
        T::forms(op).into_iter().map(|form| form.name).collect()
    }

    fn is_exact_on_integers(&self, op: &dyn Op, implementation: &str) -> bool {
        T::forms(op).iter().all(|form| form.name != implementation || form.exact_on_integers)
    }

    fn prefer(&mut self, implementation: &str) {
        self.preferred = Some(implementation.into());
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        plan.assert_valid();
        let allocation = Allocation::new(&plan, &[]);
        let first = self.memory.len();
        self.memory
            .extend(allocation.slots.iter().map(|slot| HostBuffer::zeros(slot.element, slot.elements)));
        if cfg!(debug_assertions) {
            self.poison(first);
        }
        let mut places: Vec<Option<usize>> =
            allocation.of_buffer.iter().map(|slot| slot.map(|slot| first + slot)).collect();
        for (place, buffer) in places.iter_mut().zip(&plan.buffers) {
            if buffer.role.is_persistent() {
                let memory = &mut self.memory;
                let shared = *self.persistent.entry(buffer.name.clone()).or_insert_with(|| {
                    memory.push(HostBuffer::zeros(buffer.element, buffer.shape.elements()));
                    memory.len() - 1
                });
                assert_eq!(memory[shared].len(), buffer.shape.elements(), "{}: shared by plans", buffer.name);
                *place = Some(shared);
            }
        }
        let forms = plan.steps().map(|step| self.form(step.op.as_ref())).collect();
        self.plans.push(PreparedPlan { plan, places, forms });
        Ok(Prepared(self.plans.len() - 1))
    }

    fn memory(&self, plan: &Plan) -> Memory {
        Memory::new(plan, &Allocation::new(plan, &[]))
    }

    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        let plan = self.plans[prepared.0].plan.clone();
        plan.check_content(buffer, data)?;
        self.buffer_mut(prepared, buffer).assign(data, |&value| T::from_f32(value));
        Ok(())
    }

    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
        let PreparedPlan { plan, places, forms } = &self.plans[prepared.0];
        let (plan, places, forms) = (plan.clone(), places.clone(), forms.clone());
        // From a thread of the pool, so that sharing out a step's work wakes the others only.
        rayon::scope(|_| {
            for _ in 0..times {
                for (step, form) in plan.steps().zip(&forms) {
                    self.run_step(step, form, &places, &plan);
                }
            }
        });
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) {
        *self = Self { preferred: self.preferred.take(), ..Self::new() };
    }

    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
        Ok(Box::new(Ready(self.buffer(prepared, buffer).map_reals(|value| value.to_f32()))))
    }
}
