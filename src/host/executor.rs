//! The executor that keeps buffers in host memory. The type of its reals decides how operations run.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cpu::caught;
use crate::ops::{CpuForm, Element, HostBuffer, Op, Operands};
use crate::plan::{
    Allocation, BufferId, BufferSpec, Executor, Memory, Pending, Plan, Prepared, Role, Step, Workbench,
};
use crate::{Result, host_memory};

/// The name of a plan's buffers in error messages.
const PLAN: &str = "a plan";

/// A type of real numbers, and the forms of an operation that work on it.
pub trait Arithmetic: Copy + Default + Send + 'static {
    /// The forms of an operation for this type, best guess first.
    fn forms(op: &dyn Op) -> Vec<CpuForm<'_, Self>>;
    /// The result of [`Executor::device_name`].
    fn device_name() -> String;
    /// Rounds to f32.
    fn to_f32(self) -> f32;
    /// Widens from f32.
    fn from_f32(value: f32) -> Self;
    /// Widens to f64.
    fn to_f64(self) -> f64;
    /// Rounds from f64.
    fn from_f64(value: f64) -> Self;
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
    // Whether it does as if it stored halves.
    pub(super) halves: bool,
    // Holds the operands of the step that runs, and is empty between steps; kept so that it is not allocated for every
    // step.
    operands: Vec<HostBuffer<T>>,
}

#[derive(Debug)]
struct PreparedPlan {
    plan: Arc<Plan>,
    // The position of each buffer in the executor's memory.
    places: Vec<Option<usize>>,
    // The name of the form that steps run in, those that have it.
    preferred: Option<String>,
}

impl<T: Arithmetic> HostExecutor<T> {
    /// An executor without plans.
    pub fn new() -> Self {
        HostExecutor {
            memory: Vec::new(),
            persistent: HashMap::new(),
            plans: Vec::new(),
            preferred: None,
            halves: false,
            operands: Vec::new(),
        }
    }

    /// A buffer's content, without conversion.
    pub fn buffer(&self, prepared: Prepared, buffer: BufferId) -> &HostBuffer<T> {
        &self.memory[self.place(prepared, buffer)]
    }

    /// A buffer's content for writing, without conversion.
    pub fn buffer_mut(&mut self, prepared: Prepared, buffer: BufferId) -> &mut HostBuffer<T> {
        let place = self.place(prepared, buffer);
        &mut self.memory[place]
    }

    fn place(&self, prepared: Prepared, buffer: BufferId) -> usize {
        self.plans[prepared.0].places[buffer.index()].expect("a buffer that some step uses")
    }

    /// Bytes of host memory for this number of elements.
    fn bytes(element: Element, elements: usize) -> u64 {
        match element {
            Element::Real | Element::Half => size_of::<T>() as u64 * elements as u64,
            _ => element.bytes(elements),
        }
    }

    /// The persistent buffers of a plan, which plans share by name, that the executor does not hold yet.
    fn missing<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a BufferSpec> {
        let persistent = plan.buffers.iter().filter(|buffer| buffer.role.is_persistent());
        persistent.filter(|buffer| !self.persistent.contains_key(&buffer.name))
    }

    /// The form with the preferred name if the operation has it, otherwise the best guess.
    fn form<'a>(op: &'a dyn Op, preferred: Option<&str>) -> CpuForm<'a, T> {
        let mut forms = T::forms(op);
        let position = forms.iter().position(|form| Some(form.name) == preferred);
        forms.swap_remove(position.unwrap_or(0))
    }

    fn run_step(
        &mut self,
        step: &Step,
        form: &CpuForm<'_, T>,
        places: &[Option<usize>],
        plan: &Plan,
    ) -> Result<()> {
        let place = |id: &BufferId| places[id.index()].expect("every operand has a place");
        let mut buffers = std::mem::take(&mut self.operands);
        buffers.extend(step.operands.iter().map(|id| {
            let mut buffer = std::mem::take(&mut self.memory[place(id)]);
            buffer.resize_within(plan.buffer(*id).shape.elements());
            buffer
        }));
        let mut operands = Operands::new(buffers);
        let ran = caught(|| form.run(&mut operands));
        let mut buffers = operands.into_buffers();
        for (id, buffer) in step.operands.iter().zip(buffers.drain(..)) {
            self.memory[place(id)] = buffer;
        }
        self.operands = buffers;
        ran
    }
}

impl<T: Arithmetic> Executor for HostExecutor<T> {
    fn device_name(&self) -> String {
        T::device_name()
    }

    fn max_buffer_bytes(&self) -> u64 {
        u64::MAX
    }

    fn stores_halves(&self) -> bool {
        self.halves
    }

    fn host_bytes(&self, plans: &[&Plan]) -> u64 {
        let slots = plans.iter().flat_map(|plan| Allocation::new(plan, &[], &[]).slots);
        let slots: u64 = slots.map(|slot| Self::bytes(slot.element, slot.elements)).sum();
        let missing = plans.iter().flat_map(|plan| self.missing(plan));
        let missing = missing.filter(|buffer| (buffer.role, buffer.element) != (Role::Data, Element::Byte));
        // Plans share buffers with the same name.
        let missing: HashMap<&str, u64> = missing
            .map(|buffer| (buffer.name.as_str(), Self::bytes(buffer.element, buffer.shape.elements())))
            .collect();
        slots + missing.values().sum::<u64>()
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        plan.assert_valid();
        host_memory::check(PLAN, self.host_bytes(&[&plan]), "a smaller batch")?;
        let allocation = Allocation::new(&plan, &[], &[]);
        let zeros = |element, elements| HostBuffer::try_zeros(PLAN, element, elements);
        let slots: Result<Vec<_>> =
            allocation.slots.iter().map(|slot| zeros(slot.element, slot.elements)).collect();
        let persistent = self
            .missing(&plan)
            .map(|buffer| Ok((buffer.name.clone(), zeros(buffer.element, buffer.shape.elements())?)));
        // No memory is kept unless all allocations have succeeded.
        let (mut slots, persistent) = (slots?, persistent.collect::<Result<Vec<_>>>()?);
        // NaN makes reads of unwritten memory visible in tests.
        if cfg!(debug_assertions) {
            for slot in slots.iter_mut().filter(|slot| slot.element() == Element::Real) {
                slot.reals_mut().fill(T::NAN);
            }
        }
        let first = self.memory.len();
        self.memory.extend(slots);
        for (name, buffer) in persistent {
            self.persistent.insert(name, self.memory.len());
            self.memory.push(buffer);
        }
        let mut places: Vec<Option<usize>> =
            allocation.of_buffer.iter().map(|slot| slot.map(|slot| first + slot)).collect();
        for (place, buffer) in places.iter_mut().zip(&plan.buffers) {
            if buffer.role.is_persistent() {
                let shared = self.persistent[&buffer.name];
                let elements = self.memory[shared].len();
                assert_eq!(elements, buffer.shape.elements(), "{}: shared by plans", buffer.name);
                *place = Some(shared);
            }
        }
        self.plans.push(PreparedPlan { plan, places, preferred: self.preferred.clone() });
        Ok(Prepared(self.plans.len() - 1))
    }

    fn memory(&self, plan: &Plan) -> Memory {
        Memory::apart(plan, &Allocation::new(plan, &[], &[]), Self::bytes)
    }

    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        let plan = self.plans[prepared.0].plan.clone();
        plan.check_content(buffer, data)?;
        self.buffer_mut(prepared, buffer).assign(data, |&value| T::from_f32(value));
        Ok(())
    }

    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
        let PreparedPlan { plan, places, preferred } = &self.plans[prepared.0];
        let (plan, places) = (plan.clone(), places.clone());
        let forms: Vec<CpuForm<'_, T>> =
            plan.steps().map(|step| Self::form(step.op.as_ref(), preferred.as_deref())).collect();
        // Started on a thread of the pool, so that a step with parallel work only has to wake the other threads.
        rayon::scope(|_| {
            for _ in 0..times {
                for (step, form) in plan.steps().zip(&forms) {
                    self.run_step(step, form, &places, &plan)?;
                }
            }
            Ok(())
        })
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) {
        *self = Self { preferred: self.preferred.take(), halves: self.halves, ..Self::new() };
    }

    fn read_exact(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Vec<f64>> {
        let read = self.buffer(prepared, buffer).try_map_reals("reading a buffer", |value| value.to_f64())?;
        Ok(read.into_reals())
    }

    fn write_exact(&mut self, prepared: Prepared, buffer: BufferId, data: &[f64]) -> Result<()> {
        let values = self.buffer_mut(prepared, buffer).reals_mut();
        values.iter_mut().zip(data).for_each(|(value, &data)| *value = T::from_f64(data));
        Ok(())
    }

    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
        let read = self.buffer(prepared, buffer).try_map_reals("reading a buffer", |value| value.to_f32())?;
        Ok(Box::new(Ready(read)))
    }
}

impl<T: Arithmetic> Workbench for HostExecutor<T> {
    fn implementations(&self, op: &dyn Op) -> Vec<&'static str> {
        T::forms(op).into_iter().map(|form| form.name).collect()
    }

    fn is_exact_on_integers(&self, op: &dyn Op, implementation: &str) -> bool {
        T::forms(op).iter().all(|form| form.name != implementation || form.exact_on_integers)
    }

    fn amplification(&self, op: &dyn Op, implementation: &str) -> f64 {
        let mut forms = T::forms(op).into_iter();
        forms.find(|form| form.name == implementation).map_or(1.0, |form| form.amplification)
    }

    fn prefer(&mut self, implementation: &str) {
        self.preferred = Some(implementation.into());
    }
}

/// Content that has been read already.
struct Ready(HostBuffer<f32>);

impl Pending for Ready {
    fn wait(self: Box<Self>) -> Result<HostBuffer<f32>> {
        Ok(self.0)
    }
}
