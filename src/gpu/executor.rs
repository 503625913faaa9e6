//! The executor that runs plans on a GPU.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Adapter;
use super::pipeline::Pipelines;
use super::transfer::{Download, to_device};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation};
use crate::ops::{Element, HostBuffer, Op};
use crate::plan::{Allocation, BufferId, Executor, Memory, Pending, Plan, Prepared};
use crate::{Error, Result};

/// Whether kernels check their indices and bound their loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShaderChecks {
    /// As a browser would: slower, and safe with any kernel.
    On,
    /// As trusted code: the kernels of this crate are tested with the checks on and off.
    Off,
}

/// Which of an operation's implementations to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The operation's own best guess for the device.
    #[default]
    BestGuess,
    /// The one of this name where an operation has it, else the best guess.
    Named(String),
}

impl Preference {
    fn choose(&self, mut implementations: Vec<Implementation>) -> Implementation {
        let position = match self {
            Preference::BestGuess => 0,
            Preference::Named(name) => {
                implementations.iter().position(|implementation| implementation.name == name).unwrap_or(0)
            }
        };
        implementations.swap_remove(position)
    }
}

/// Runs plans on a GPU.
#[derive(Debug)]
pub struct GpuExecutor {
    device: wgpu::Device,
    queue: wgpu::Queue,
    profile: DeviceProfile,
    checks: ShaderChecks,
    preference: Preference,
    pipelines: Pipelines,
    persistent: HashMap<String, wgpu::Buffer>,
    plans: Vec<PreparedPlan>,
    // The first message from the driver that no call returned.
    fault: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
struct PreparedPlan {
    plan: Arc<Plan>,
    buffers: Vec<Option<wgpu::Buffer>>,
    dispatches: Vec<Dispatch>,
}

#[derive(Debug)]
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

impl GpuExecutor {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses.
    pub fn open(adapter: &Adapter) -> Result<Self> {
        let (device, queue) = adapter.open()?;
        let fault = Arc::new(Mutex::new(None));
        let note = |fault: &Arc<Mutex<Option<String>>>, message: String| {
            fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        };
        let uncaptured = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| note(&uncaptured, error.to_string())));
        let lost = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, format!("the device was lost ({message}); try a smaller batch, or --device cpu"));
            }
        });
        Ok(GpuExecutor {
            device,
            queue,
            profile: adapter.profile().clone(),
            checks: ShaderChecks::Off,
            preference: Preference::default(),
            pipelines: Pipelines::default(),
            persistent: HashMap::new(),
            plans: Vec::new(),
            fault,
        })
    }

    /// The same executor with kernels that check their indices, or that do not.
    pub fn with_checks(self, checks: ShaderChecks) -> Self {
        GpuExecutor { checks, pipelines: Pipelines::default(), ..self }
    }

    /// What operations choose their kernels by.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// Which implementations the plans prepared from now on run.
    pub fn set_preference(&mut self, preference: Preference) {
        self.preference = preference;
    }

    fn choose(&self, plan: &Plan) -> Vec<Implementation> {
        plan.steps().map(|step| self.preference.choose(step.op.implementations(&self.profile))).collect()
    }

    fn allocate(plan: &Plan, chosen: &[Implementation]) -> Allocation {
        let workspace: Vec<Vec<usize>> =
            chosen.iter().map(|implementation| implementation.workspace.clone()).collect();
        Allocation::new(plan, &workspace)
    }

    fn failed(&self, operation: impl Into<String>, cause: impl ToString) -> Error {
        let (device, operation) = (self.profile.name.clone(), operation.into());
        // Drivers' messages run over many lines; one says what failed.
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::Device { device, operation, cause }
    }

    fn check_fault(&self, operation: &str) -> Result<()> {
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(message) => Err(self.failed(operation, message)),
            None => Ok(()),
        }
    }

    fn check_limits(&self, plan: &Plan, allocation: &Allocation) -> Result<()> {
        let limit = self.max_buffer_bytes();
        let refused = |what: &str, bytes: u64| {
            let cause = format!(
                "{what} needs {} MiB, and a buffer holds at most {} MiB; try a smaller batch",
                bytes.div_ceil(1 << 20),
                limit >> 20
            );
            Err(self.failed("preparing a plan", cause))
        };
        if let Some(buffer) = plan.buffers.iter().find(|buffer| buffer.bytes() > limit) {
            return refused(&buffer.name, buffer.bytes());
        }
        match allocation.slots.iter().find(|slot| slot.element.bytes(slot.elements) > limit) {
            Some(slot) => refused("scratch memory", slot.element.bytes(slot.elements)),
            None => Ok(()),
        }
    }

    fn create_buffer(&self, label: &str, element: Element, elements: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: element.bytes(elements.max(1)),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A buffer for each slot of the allocation and each persistent buffer that is not there yet.
    fn create_buffers(
        &mut self,
        plan: &Plan,
        allocation: &Allocation,
    ) -> Result<(Vec<wgpu::Buffer>, Vec<Option<wgpu::Buffer>>)> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let slots: Vec<wgpu::Buffer> = allocation
            .slots
            .iter()
            .map(|slot| self.create_buffer("slot", slot.element, slot.elements))
            .collect();
        let mut buffers = Vec::new();
        for (buffer, slot) in plan.buffers.iter().zip(&allocation.of_buffer) {
            let elements = buffer.shape.elements();
            buffers.push(if buffer.role.is_persistent() {
                let shared = match self.persistent.get(&buffer.name) {
                    Some(shared) => shared.clone(),
                    None => self.create_buffer(&buffer.name, buffer.element, elements),
                };
                assert_eq!(
                    shared.size(),
                    buffer.element.bytes(elements.max(1)),
                    "{}: shared by plans",
                    buffer.name
                );
                self.persistent.insert(buffer.name.clone(), shared.clone());
                Some(shared)
            } else {
                slot.map(|slot| slots[slot].clone())
            });
        }
        match pollster::block_on(scope.pop()) {
            Some(_) => {
                let total = Memory::new(plan, allocation).total().div_ceil(1 << 20);
                let cause =
                    format!("out of memory at {total} MiB in all; try a smaller batch, or --device cpu");
                Err(self.failed("preparing a plan", cause))
            }
            None => Ok((slots, buffers)),
        }
    }
}

impl Executor for GpuExecutor {
    fn device_name(&self) -> String {
        self.profile.name.clone()
    }

    fn max_buffer_bytes(&self) -> u64 {
        self.profile.max_binding_bytes.min(self.profile.max_buffer_bytes)
    }

    fn implementations(&self, op: &dyn Op) -> Vec<&'static str> {
        op.implementations(&self.profile).iter().map(|implementation| implementation.name).collect()
    }

    fn prefer(&mut self, implementation: &str) {
        self.set_preference(Preference::Named(implementation.into()));
    }

    fn forget_kernels(&mut self) {
        self.pipelines = Pipelines::default();
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        plan.assert_valid();
        let chosen = self.choose(&plan);
        let allocation = Self::allocate(&plan, &chosen);
        self.check_limits(&plan, &allocation)?;
        let calls: Vec<_> = chosen.iter().flat_map(|implementation| &implementation.calls).collect();
        self.pipelines
            .compile(&self.device, self.checks, &calls)
            .map_err(|message| self.failed("compiling a kernel", message))?;
        let (slots, buffers) = self.create_buffers(&plan, &allocation)?;

        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut dispatches = Vec::new();
        for ((step, implementation), scratch) in plan.steps().zip(&chosen).zip(&allocation.of_workspace) {
            for call in &implementation.calls {
                let entries: Vec<wgpu::BindGroupEntry> = (0..)
                    .zip(&call.bindings)
                    .map(|(binding, &source)| {
                        let (buffer, bytes) = match source {
                            Binding::Operand(operand) => {
                                let id = step.operands[operand];
                                let buffer = buffers[id.index()].as_ref().expect("every operand has memory");
                                (buffer, plan.buffer(id).bytes())
                            }
                            Binding::Workspace(number) => (
                                &slots[scratch[number]],
                                Element::Real.bytes(implementation.workspace[number]),
                            ),
                        };
                        let size = std::num::NonZeroU64::new(bytes.max(4));
                        let resource =
                            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size });
                        wgpu::BindGroupEntry { binding, resource }
                    })
                    .collect();
                let pipeline = self.pipelines.get(call).clone();
                let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(call.source.name),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &entries,
                });
                dispatches.push(Dispatch { pipeline, bind_group, workgroups: call.workgroups });
            }
        }
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(self.failed("binding buffers", error));
        }
        self.plans.push(PreparedPlan { plan, buffers, dispatches });
        Ok(Prepared(self.plans.len() - 1))
    }

    fn memory(&self, plan: &Plan) -> Memory {
        Memory::new(plan, &Self::allocate(plan, &self.choose(plan)))
    }

    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        let PreparedPlan { plan, buffers, .. } = &self.plans[prepared.0];
        plan.check_content(buffer, data)?;
        // A buffer that no step uses has no memory, and nobody will miss its content.
        if let Some(buffer) = &buffers[buffer.index()] {
            to_device(&self.queue, buffer, data);
        }
        self.check_fault("writing a buffer")
    }

    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for _ in 0..times {
            for Dispatch { pipeline, bind_group, workgroups: [x, y, z] } in &self.plans[prepared.0].dispatches
            {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
        self.check_fault("running a plan")
    }

    fn wait(&mut self) -> Result<()> {
        let wait = wgpu::PollType::wait_indefinitely();
        self.device.poll(wait).map_err(|error| self.failed("running a plan", error))?;
        self.check_fault("running a plan")
    }

    fn clear(&mut self) {
        // Compiled pipelines stay: they belong to no plan.
        self.plans.clear();
        self.persistent.clear();
    }

    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
        let PreparedPlan { plan, buffers, .. } = &self.plans[prepared.0];
        let spec = plan.buffer(buffer);
        let Some(source) = &buffers[buffer.index()] else {
            return Err(self.failed("reading a buffer back", format!("no step uses {}", spec.name)));
        };
        let elements = spec.shape.elements();
        let download =
            Download::start(&self.device, &self.queue, &self.profile.name, source, spec.element, elements);
        self.check_fault("reading a buffer back")?;
        Ok(Box::new(download))
    }
}
