//! The executor that runs plans on a GPU.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::adapter::Adapter;
use super::clock::Clock;
use super::context::Context;
use super::late_sums::LateSums;
use super::pipeline::{Pipelines, ShaderChecks};
use super::pipeline_cache::PipelineCache;
use super::slice::Slice;
use super::submission::{Dispatch, in_pieces, longest_time, longest_time_of};
use super::transfer::{Download, to_device};
use super::tuning::{Tuner, Tuning};
use crate::device::{DeviceKind, DeviceProfile};
use crate::files::CacheFolder;
use crate::ops::kernel::{Binding, Implementation};
use crate::ops::span::padded;
use crate::ops::{Element, HostBuffer, Op};
use crate::plan::{
    Allocation, Arena, BufferId, BufferSpec, ChosenBy, Executor, Memory, Pending, Plan, Prepared, Role, Slot,
    Step, TimedBy, Workbench,
};
use crate::{Result, host_memory};

/// Which of an operation's implementations to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The fastest if the executor measures, otherwise the operation's own best guess for the device.
    #[default]
    BestGuess,
    /// The one of this name if an operation has it, otherwise as [`Preference::BestGuess`].
    Named(String),
}

/// Runs plans on a GPU.
#[derive(Debug)]
pub struct GpuExecutor {
    adapter: Adapter,
    context: Context,
    preference: Preference,
    late_sum_bytes: u64,
    pipelines: Pipelines,
    clock: Clock,
    tuner: Option<Tuner>,
    persistent: HashMap<String, Slice>,
    plans: Vec<PreparedPlan>,
}

/// What of a plan runs, and in which memory.
struct Schedule {
    /// Those of the steps, without the sums that wait.
    implementations: Vec<Implementation>,
    late_sums: Vec<LateSums>,
    allocation: Allocation,
    /// The slot of the table of the first late sums; those of the others follow.
    first_table: usize,
}

#[derive(Debug)]
struct PreparedPlan {
    plan: Arc<Plan>,
    buffers: Vec<Option<Slice>>,
    dispatches: Vec<Dispatch>,
}

impl GpuExecutor {
    /// Opens an adapter. Its operations are chosen by rules, none runs on matrix units, and no cache is used.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the driver refuses.
    pub fn open(adapter: &Adapter) -> Result<Self> {
        Ok(GpuExecutor::on(adapter, Context::open(adapter, false)?))
    }

    /// As [`GpuExecutor::open`], for operations that run on [`MatrixUnits`](crate::device::MatrixUnits) too, if the adapter
    /// has them. No rule chooses such an implementation: tuning does, or a [`Preference`].
    ///
    /// They are an experimental feature of wgpu: see
    /// [`matrix_units_compute_right`](crate::verify::matrix_units_compute_right).
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the driver refuses.
    pub fn open_with_matrix_units(adapter: &Adapter) -> Result<Self> {
        Ok(GpuExecutor::on(adapter, Context::open(adapter, true)?))
    }

    fn on(adapter: &Adapter, context: Context) -> Self {
        GpuExecutor {
            adapter: adapter.clone(),
            clock: Clock::new(&context),
            context,
            preference: Preference::default(),
            late_sum_bytes: u64::MAX,
            pipelines: Pipelines::new(ShaderChecks::default()),
            tuner: None,
            persistent: HashMap::new(),
            plans: Vec::new(),
        }
    }

    /// The same executor, whose operations do not run on matrix units.
    pub fn without_matrix_units(mut self) -> Self {
        self.context.profile.matrix_units = None;
        self
    }

    /// The same executor with index checks in its kernels, or without.
    ///
    /// # Panics
    /// On an executor that tunes: its findings are valid for one kind of kernels only. Call this first.
    pub fn with_checks(mut self, checks: ShaderChecks) -> Self {
        assert!(self.tuner.is_none(), "shader checks are asked for before tuning");
        self.pipelines.restart(checks);
        self
    }

    /// The same executor, which keeps compiled kernels in `folder` if the driver supports that.
    pub fn with_pipeline_cache(mut self, folder: CacheFolder) -> Self {
        let cache = self
            .adapter
            .pipeline_cache_name()
            .and_then(|name| PipelineCache::open(&self.context, folder, name));
        self.pipelines.set_cache(cache);
        self
    }

    /// The same executor, which measures the implementations of a plan's operations when the plan is prepared, and
    /// runs the fastest that is correct. The choice, and with it the last bits of the answers, may differ between
    /// starts of the program unless the findings are kept.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.tuner = Some(Tuner::new(tuning, &self.adapter, self.pipelines.checks()));
        self
    }

    /// The same executor, whose [late sums](LateSums) are of slices of at most so many bytes each; with 0, each operation adds its
    /// own at once. The answers have the same bits.
    pub fn with_late_sums(self, most_bytes: u64) -> Self {
        GpuExecutor { late_sum_bytes: most_bytes, ..self }
    }

    /// The properties by which operations choose their kernels.
    pub fn profile(&self) -> &DeviceProfile {
        &self.context.profile
    }

    /// Sets which implementations run in the plans prepared from now on.
    pub fn set_preference(&mut self, preference: Preference) {
        self.preference = preference;
    }

    /// The position of the implementation that [`Workbench::choose`] returns, as far as it is known.
    fn default_choice(&self, op: &dyn Op, implementations: &[Implementation]) -> (usize, ChosenBy) {
        match &self.tuner {
            None => (0, ChosenBy::Rules),
            Some(tuner) => tuner.choose(op, self.profile(), implementations),
        }
    }

    fn implementation(&self, op: &dyn Op) -> Implementation {
        let mut implementations = op.implementations(self.profile());
        let named = match &self.preference {
            Preference::BestGuess => None,
            Preference::Named(name) => {
                implementations.iter().position(|implementation| implementation.name == name)
            }
        };
        let position = named.unwrap_or_else(|| self.default_choice(op, &implementations).0);
        in_pieces(self.profile(), op, implementations.swap_remove(position))
    }

    fn schedule(&self, plan: &Plan) -> Schedule {
        let mut implementations: Vec<Implementation> =
            plan.steps().map(|step| self.implementation(step.op.as_ref())).collect();
        let late_sums = LateSums::take_from(plan, &mut implementations, self.profile(), self.late_sum_bytes);
        let workspace: Vec<Vec<usize>> = implementations.iter().map(|way| way.workspace.clone()).collect();
        let lasting: Vec<Vec<(usize, usize)>> = late_sums.iter().map(|late| late.slices.clone()).collect();
        let mut allocation = Allocation::new(plan, &workspace, &lasting);
        let first_table = allocation.slots.len();
        allocation.slots.extend(late_sums.iter().map(|late| Slot {
            role: Role::Workspace,
            element: Element::Index,
            elements: late.table.rows.len(),
        }));
        Schedule { implementations, late_sums, allocation, first_table }
    }

    /// Returns an error for the first of these named sizes that is too large for a buffer.
    fn check_sizes<'a>(&self, sizes: impl Iterator<Item = (&'a str, u64)>) -> Result<()> {
        let limit = self.max_buffer_bytes();
        match sizes.into_iter().find(|&(_, bytes)| bytes > limit) {
            None => Ok(()),
            Some((what, bytes)) => {
                let cause = format!(
                    "{what} needs {} MiB, and a buffer holds at most {} MiB; try a smaller batch",
                    bytes.div_ceil(1 << 20),
                    limit >> 20
                );
                Err(self.context.failed("preparing a plan", cause))
            }
        }
    }

    /// The memory of each span that the kernels of a step bind.
    fn spans(
        &self,
        plan: &Plan,
        step: &Step,
        implementation: &Implementation,
        buffers: &[Option<Slice>],
    ) -> Result<HashMap<Binding, Slice>> {
        let mut spans = HashMap::new();
        for &binding in implementation.calls.iter().flat_map(|call| &call.bindings) {
            let Binding::Span { first, last } = binding else { continue };
            let operands = &step.operands[first..=last];
            let slices: Vec<&Slice> = operands.iter().filter_map(|id| buffers[id.index()].as_ref()).collect();
            let span = Slice::span(&slices).ok_or_else(|| {
                let cause = format!(
                    "{} needs {} to {} side by side, and another plan has placed them otherwise; prepare that plan later",
                    step.op.name(),
                    plan.buffer(operands[0]).name,
                    plan.buffer(operands[operands.len() - 1]).name
                );
                self.context.failed("preparing a plan", cause)
            })?;
            spans.insert(binding, span);
        }
        Ok(spans)
    }

    /// The launch of sums that waited for it, if they did, with the memory of their slices and of their table.
    fn late_dispatches(
        &self,
        late: &LateSums,
        [slices, table]: &[Slice; 2],
        buffers: &[Option<Slice>],
    ) -> Vec<Dispatch> {
        let Some(launch) = &late.launch else { return Vec::new() };
        let results: Vec<&Slice> =
            late.results.iter().filter_map(|id| buffers[id.index()].as_ref()).collect();
        let results = Slice::span(&results).expect("they were laid side by side");
        let seconds = longest_time_of(self.profile(), 0, slices.bytes + results.bytes);
        self.context.dispatches(seconds, launch, &self.pipelines, |binding| match binding {
            Binding::Workspace(0) => slices.binding(),
            Binding::Workspace(_) => table.binding(),
            _ => results.binding(),
        })
    }

    /// Fills memory with NaN, so that a read of unwritten memory shows in the answer.
    fn poison(&self, slices: &[Slice]) {
        for Slice { buffer, offset, bytes } in slices {
            self.context.queue.write_buffer(buffer, *offset, &vec![0xff; *bytes as usize]);
        }
    }

    /// Memory for a single buffer.
    fn create_slice(&self, label: &str, element: Element, elements: usize) -> Slice {
        let buffer = self.context.create_buffer(label, element, elements);
        let bytes = buffer.size();
        Slice::first(buffer, bytes)
    }

    /// Memory for each slot of the allocation.
    fn create_slots(&self, allocation: &Allocation) -> Vec<Slice> {
        let mut laid: Vec<Option<Slice>> = vec![None; allocation.slots.len()];
        for arena in &allocation.arenas {
            let sizes: Vec<usize> = arena.iter().map(|&slot| allocation.slots[slot].elements).collect();
            for (&slot, slice) in arena.iter().zip(self.context.create_span("arena", &sizes)) {
                laid[slot] = Some(slice);
            }
        }
        let slots = laid.into_iter().zip(&allocation.slots);
        slots
            .map(|(laid, slot)| {
                laid.unwrap_or_else(|| self.create_slice("slot", slot.element, slot.elements))
            })
            .collect()
    }

    /// Memory for each persistent buffer of a plan that does not exist yet; the buffers of an arena lie side by side.
    fn create_persistent(&self, plan: &Plan) -> HashMap<String, Slice> {
        let mut created: HashMap<String, Slice> = HashMap::new();
        for Arena { name, members } in &plan.arenas {
            let missing: Vec<&BufferSpec> = members
                .iter()
                .map(|&id| plan.buffer(id))
                .filter(|buffer| buffer.role.is_persistent() && !self.persistent.contains_key(&buffer.name))
                .collect();
            let sizes: Vec<usize> = missing.iter().map(|buffer| buffer.shape.elements()).collect();
            let slices = self.context.create_span(name, &sizes);
            created.extend(missing.iter().map(|buffer| buffer.name.clone()).zip(slices));
        }
        for buffer in plan.buffers.iter().filter(|buffer| buffer.role.is_persistent()) {
            if !self.persistent.contains_key(&buffer.name) && !created.contains_key(&buffer.name) {
                let slice = self.create_slice(&buffer.name, buffer.element, buffer.shape.elements());
                created.insert(buffer.name.clone(), slice);
            }
        }
        created
    }

    /// Memory for each slot of the allocation and for each persistent buffer that does not exist yet.
    fn create_buffers(
        &mut self,
        plan: &Plan,
        allocation: &Allocation,
    ) -> Result<(Vec<Slice>, Vec<Option<Slice>>)> {
        let scope = self.context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let slots = self.create_slots(allocation);
        if self.pipelines.checks() == ShaderChecks::On {
            self.poison(&slots);
        }
        self.persistent.extend(self.create_persistent(plan));
        let mut buffers = Vec::new();
        for (buffer, slot) in plan.buffers.iter().zip(&allocation.of_buffer) {
            buffers.push(if buffer.role.is_persistent() {
                let shared = self.persistent[&buffer.name].clone();
                let bytes = buffer.element.bytes(buffer.shape.elements().max(1));
                assert_eq!(shared.bytes, bytes, "{}: shared by plans", buffer.name);
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
                Err(self.context.failed("preparing a plan", cause))
            }
            None => Ok((slots, buffers)),
        }
    }
}

impl Executor for GpuExecutor {
    fn device_name(&self) -> String {
        self.profile().name.clone()
    }

    fn max_buffer_bytes(&self) -> u64 {
        self.context.max_buffer_bytes()
    }

    fn stores_halves(&self) -> bool {
        self.adapter.features().contains(&("f16", true))
    }

    fn elements_per_launch(&self) -> usize {
        self.profile().elements_per_launch()
    }

    fn condenses(&self) -> bool {
        true
    }

    fn check(&self, plan: &Plan) -> Result<()> {
        let arena_of = plan.arena_of_buffers();
        self.check_sizes(plan.buffers.iter().zip(arena_of).map(|(buffer, arena)| {
            let bytes = match arena {
                Some(_) => Element::Real.bytes(padded(buffer.shape.elements())),
                None => buffer.bytes(),
            };
            (buffer.name.as_str(), bytes)
        }))
    }

    fn host_bytes(&self, plans: &[&Plan]) -> u64 {
        match self.profile().kind {
            DeviceKind::Software => plans.iter().map(|plan| self.memory(plan).total()).sum(),
            _ => 0,
        }
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        plan.assert_valid();
        self.context.check_fault("preparing a plan")?;
        self.check(&plan)?;
        host_memory::check("a plan", self.host_bytes(&[&plan]), "a smaller batch")?;
        if let (Some(tuner), Preference::BestGuess) = (&mut self.tuner, &self.preference) {
            tuner.tune_plan(&plan, &self.context, &mut self.pipelines, &mut self.clock);
        }
        let Schedule { implementations, late_sums, allocation, first_table } = self.schedule(&plan);
        let slots = allocation.slots.iter().map(|slot| slot.element.bytes(slot.elements));
        self.check_sizes(slots.map(|bytes| ("scratch memory", bytes)))?;
        let all: Vec<&Implementation> =
            implementations.iter().chain(late_sums.iter().filter_map(|late| late.launch.as_ref())).collect();
        let compiled: std::result::Result<(), String> =
            self.pipelines.compile(&self.context.device, &all).into_iter().collect();
        compiled.map_err(|message| self.context.failed("compiling a kernel", message))?;
        self.pipelines.save_now_and_then();
        let (slots, buffers) = self.create_buffers(&plan, &allocation)?;

        let scope = self.context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut dispatches = Vec::new();
        // The slices and the tables of late sums.
        let late_memory: Vec<[Slice; 2]> = late_sums
            .iter()
            .zip(&slots[first_table..])
            .map(|(late, table)| {
                let rows = HostBuffer::index(late.table.rows.clone());
                to_device(&self.context.queue, table, Element::Index, &rows);
                let memory =
                    |&(step, scratch): &(usize, usize)| &slots[allocation.of_workspace[step][scratch]];
                let slices: Vec<&Slice> = late.slices.iter().map(memory).collect();
                [Slice::span(&slices).expect("they were laid side by side"), table.clone()]
            })
            .collect();
        let steps = plan.steps().zip(&implementations).zip(&allocation.of_workspace);
        for (number, ((step, implementation), scratch)) in steps.enumerate() {
            let mut added_here = None;
            for (late, memory) in late_sums.iter().zip(&late_memory).filter(|(late, _)| late.reader == number)
            {
                dispatches.extend(self.late_dispatches(late, memory, &buffers));
                added_here = late.launch.is_none().then_some(memory);
            }
            let spans = self.spans(&plan, step, implementation, &buffers)?;
            let bound = |binding| match binding {
                Binding::Operand(operand) => {
                    let id = step.operands[operand];
                    let slice = buffers[id.index()].as_ref().expect("every operand has memory");
                    let size = NonZeroU64::new(plan.buffer(id).bytes().max(4));
                    wgpu::BufferBinding { size, ..slice.binding() }
                }
                Binding::Workspace(number) => {
                    if let Some(memory) = added_here {
                        return memory[number].binding();
                    }
                    let bytes = Element::Real.bytes(implementation.workspace[number]);
                    wgpu::BufferBinding {
                        size: NonZeroU64::new(bytes.max(4)),
                        ..slots[scratch[number]].binding()
                    }
                }
                Binding::Span { .. } => spans[&binding].binding(),
            };
            let seconds = longest_time(self.profile(), step.op.as_ref());
            dispatches.extend(self.context.dispatches(seconds, implementation, &self.pipelines, bound));
        }
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(self.context.failed("binding buffers", error));
        }
        self.context.check_fault("preparing a plan")?;
        self.plans.push(PreparedPlan { plan, buffers, dispatches });
        Ok(Prepared(self.plans.len() - 1))
    }

    fn memory(&self, plan: &Plan) -> Memory {
        Memory::new(plan, &self.schedule(plan).allocation)
    }

    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
        let PreparedPlan { plan, buffers, .. } = &self.plans[prepared.0];
        plan.check_content(buffer, data)?;
        let element = plan.buffer(buffer).element;
        // A buffer that no step uses has no memory, and its content is not needed.
        if let Some(buffer) = &buffers[buffer.index()] {
            to_device(&self.context.queue, buffer, element, data);
        }
        self.context.check_fault("writing a buffer")
    }

    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
        self.context.submit(&self.plans[prepared.0].dispatches, times, None)
    }

    fn wait(&mut self) -> Result<()> {
        self.context.wait()
    }

    fn clear(&mut self) {
        // Compiled pipelines stay, since they belong to no plan.
        self.plans.clear();
        self.persistent.clear();
    }

    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
        let PreparedPlan { plan, buffers, .. } = &self.plans[prepared.0];
        let spec = plan.buffer(buffer);
        let Some(source) = &buffers[buffer.index()] else {
            let cause = format!("no step uses {}", spec.name);
            return Err(self.context.failed("reading a buffer back", cause));
        };
        let download = Download::start(&self.context, source, spec.element, spec.shape.elements());
        self.context.check_fault("reading a buffer back")?;
        Ok(Box::new(download))
    }
}

impl Workbench for GpuExecutor {
    fn implementations(&self, op: &dyn Op) -> Vec<&'static str> {
        op.implementations(self.profile()).iter().map(|implementation| implementation.name).collect()
    }

    fn choose(&mut self, op: &dyn Op) -> (&'static str, ChosenBy) {
        let operands = op.operands();
        let sizes =
            operands.iter().map(|operand| (operand.name, operand.element.bytes(operand.shape.elements())));
        // A plan that cannot be prepared is not worth measuring.
        let fits = self.check_sizes(sizes).is_ok();
        if let Some(tuner) = self.tuner.as_mut().filter(|_| fits) {
            tuner.tune_op(op, &self.context, &mut self.pipelines, &mut self.clock);
        }
        let implementations = op.implementations(self.profile());
        let (position, by) = self.default_choice(op, &implementations);
        (implementations[position].name, by)
    }

    fn takes_halves(&self) -> bool {
        self.stores_halves()
    }

    fn is_exact_on_integers(&self, op: &dyn Op, implementation: &str) -> bool {
        let implementations = op.implementations(self.profile());
        implementations.iter().all(|found| found.name != implementation || found.exact_on_integers)
    }

    fn amplification(&self, op: &dyn Op, implementation: &str) -> f64 {
        let mut implementations = op.implementations(self.profile()).into_iter();
        implementations.find(|found| found.name == implementation).map_or(1.0, |found| found.amplification)
    }

    fn prefer(&mut self, implementation: &str) {
        self.set_preference(Preference::Named(implementation.into()));
    }

    fn compile_ahead(&mut self, wanted: &[(&dyn Op, &[&'static str])]) {
        let profile = &self.context.profile;
        let implementations = |&(op, names): &(&dyn Op, &[&'static str])| {
            let offered = op.implementations(profile).into_iter();
            let named = offered.filter(|implementation| names.contains(&implementation.name));
            named.map(|implementation| in_pieces(profile, op, implementation)).collect::<Vec<_>>()
        };
        let all: Vec<Implementation> = wanted.iter().flat_map(implementations).collect();
        self.pipelines.compile(&self.context.device, &all.iter().collect::<Vec<_>>());
    }

    fn forget_kernels(&mut self) {
        self.pipelines.restart(self.pipelines.checks());
    }

    fn time(&mut self, prepared: Prepared, times: usize) -> Result<Duration> {
        self.clock.measure(&self.context, &self.plans[prepared.0].dispatches, times)
    }

    fn timed_by(&self) -> TimedBy {
        self.clock.timed_by()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::gpu::adapters;
    use crate::layers::Conv2d;
    use crate::network::Network;
    use crate::ops::add::Add;
    use crate::ops::optimizer::{Adam, Group, Optimizer, Update, UpdateOptions};
    use crate::plan::{DataParts, LossOptions, Prologues, TrainOptions, train_plan};
    use crate::tensor::ImageShape;
    use crate::verify::{Data, Trial};

    fn open(test: &str) -> Option<GpuExecutor> {
        let Some(adapter) = adapters().into_iter().next() else {
            let required = std::env::var("WGCONV_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!required, "WGCONV_REQUIRE_GPU=1, and there is no adapter");
            eprintln!("SKIPPED {test}: there is no adapter");
            return None;
        };
        Some(GpuExecutor::open(&adapter).unwrap())
    }

    /// A step of Adam whose divisors are far from zero.
    fn update() -> Update {
        let optimizer = Optimizer::Adam(Adam { epsilon: 0.5, ..Adam::default() });
        let options = UpdateOptions { optimizer, ..UpdateOptions::default() };
        let parameters = [(Group::Weight, 100), (Group::Weight, 60), (Group::Bias, 1), (Group::Bias, 300)];
        Update::new(options, parameters, 2).unwrap()
    }

    /// The device's buffers of the persistent buffers whose names start with `name`, without duplicates.
    fn memory_of(gpu: &GpuExecutor, name: &str) -> Vec<wgpu::Buffer> {
        let mut buffers: Vec<wgpu::Buffer> = Vec::new();
        for (_, slice) in gpu.persistent.iter().filter(|(of, _)| of.starts_with(name)) {
            if !buffers.contains(&slice.buffer) {
                buffers.push(slice.buffer.clone());
            }
        }
        buffers
    }

    /// On a device with small bindings, the update takes as many buffers and launches as necessary, and the gaps
    /// between tensors stay zero.
    #[test]
    fn arenas_are_cut_where_the_device_binds_no_more() {
        let Some(mut gpu) = open("arenas_are_cut") else { return };
        for (bytes, parts) in [(1 << 20, 1), (2048, 2), (1280, 2)] {
            gpu.clear();
            gpu.context.profile.max_binding_bytes = bytes;
            let trial = Trial::new(Box::new(update()), Data::Reals, 3).unwrap();
            assert!(trial.run(&mut gpu).unwrap().is_ok(), "{bytes} bytes");
            for kind in ["parameter", "gradient", "first_moment", "second_moment"] {
                let buffers = memory_of(&gpu, kind);
                assert_eq!(buffers.len(), parts, "{bytes} bytes: {kind}");
                let zeros: usize = buffers
                    .iter()
                    .map(|buffer| {
                        let words = (buffer.size() / 4) as usize;
                        let slice = Slice::first(buffer.clone(), buffer.size());
                        let download = Download::start(&gpu.context, &slice, Element::Real, words);
                        let read = Box::new(download).wait().unwrap();
                        read.reals().iter().filter(|&&value| value == 0.0).count()
                    })
                    .sum();
                // The sizes of the spans are 128 + 64 + 64 + 320.
                assert_eq!(zeros, 576 - 461, "{bytes} bytes: {kind}");
            }
        }
        gpu.clear();
        gpu.context.profile.max_binding_bytes = 1024;
        let error = gpu.prepare(Arc::new(Plan::of_op(Box::new(update())))).unwrap_err().to_string();
        assert!(error.contains("parameter.3 needs 1 MiB, and a buffer holds at most 0 MiB"), "{error}");
    }

    /// Gradients and parameters after some steps on random data.
    fn trained(gpu: &mut GpuExecutor, plan: &Arc<Plan>) -> Vec<HostBuffer<f32>> {
        gpu.clear();
        let prepared = gpu.prepare(plan.clone()).unwrap();
        let mut generator = SmallRng::seed_from_u64(7);
        for spec in &plan.buffers {
            let elements = spec.shape.elements();
            let content = match spec.element {
                Element::Byte => HostBuffer::byte((0..elements).map(|_| generator.random()).collect()),
                Element::Real if spec.role == Role::Parameter => {
                    HostBuffer::real((0..elements).map(|_| generator.random_range(-0.3..0.3)).collect())
                }
                Element::Real | Element::Half => HostBuffer::real(vec![0.01; elements]),
                Element::Index => HostBuffer::zeros(Element::Index, elements),
            };
            if spec.role.is_persistent() {
                gpu.write(prepared, plan.expect(&spec.name), &content).unwrap();
            }
        }
        gpu.run(prepared, 3).unwrap();
        let results = plan.with_role(Role::Parameter).chain(plan.arenas.iter().flat_map(|arena| {
            arena.members.iter().copied().filter(|&id| plan.buffer(id).role == Role::Gradient)
        }));
        results.map(|id| gpu.read(prepared, id).unwrap()).collect()
    }

    /// Whether slices are added at once or late, by the update, in one launch or in several, with and without checks: the same bits,
    /// in fewer launches.
    #[test]
    fn sums_that_wait_are_the_same_sums() {
        let Some(mut gpu) = open("sums_that_wait") else { return };
        let image = ImageShape { height: 12, width: 12, channels: 3 };
        // Some of them by Winograd's convolution, followed by a sum for the bias, others as products with it.
        let layers = (0..6).fold(Network::builder("test", image), |builder, number| {
            let kernel = if number % 2 == 0 { 3 } else { 5 };
            builder.conv2d(Conv2d::new(16, [kernel; 2]).same()).relu()
        });
        let network = layers.global_average_pool().dense(10).build().unwrap();
        let data = DataParts { name: "train", image, classes: 10, rows: vec![16] };
        let with = |optimizer: Optimizer| {
            let (loss, update) =
                (LossOptions::default(), UpdateOptions { optimizer, ..UpdateOptions::default() });
            let options =
                TrainOptions { batch_size: 16, steps: 4, data: data.clone(), loss, update, augment: None };
            train_plan(&network, &options).unwrap().fused(Prologues::WhereTheyPay)
        };
        let sgd = Arc::new(with(Optimizer::default()));
        // It has so many states that its kernel binds no slices beside them.
        let adam = Arc::new(with(Optimizer::Adam(Adam::default())));
        // A device that sums in many slices.
        gpu.context.profile = DeviceProfile {
            kind: DeviceKind::DiscreteGpu,
            multiprocessors: Some(132),
            max_loop_trips: None,
            ..gpu.context.profile
        };
        for (plan, most_bytes, checks, own_launches) in [
            (&sgd, u64::MAX, ShaderChecks::Off, 0..=0),
            (&sgd, u64::MAX, ShaderChecks::On, 0..=0),
            (&sgd, 3 << 10, ShaderChecks::Off, 2..=6),
            (&adam, u64::MAX, ShaderChecks::Off, 1..=1),
        ] {
            gpu = gpu.with_checks(checks).with_late_sums(0);
            let at_once = trained(&mut gpu, plan);
            let launches = gpu.plans[0].dispatches.len();
            gpu = gpu.with_late_sums(most_bytes);
            let schedule = gpu.schedule(plan);
            let waiting: usize = schedule.late_sums.iter().map(|late| late.slices.len()).sum();
            let of = format!("{most_bytes} bytes, checks {checks:?}");
            assert!(waiting >= 4, "{waiting} sums wait: {of}");
            let of_sums = schedule.late_sums.iter().filter(|late| late.launch.is_some()).count();
            assert!(own_launches.contains(&of_sums), "{of_sums} launches add them: {of}");
            assert!(trained(&mut gpu, plan) == at_once, "{of}");
            assert_eq!(gpu.plans[0].dispatches.len(), launches - waiting + of_sums, "{of}");
        }
        let without_update = Plan { update: Vec::new(), ..with(Optimizer::default()) };
        assert!(gpu.schedule(&without_update).late_sums.is_empty(), "they would wait for ever");
    }

    /// Parameters that another plan has placed in separate buffers cannot be bound at once: an error, not a wrong
    /// answer.
    #[test]
    fn what_lies_apart_is_not_bound_at_once() {
        let Some(mut gpu) = open("what_lies_apart") else { return };
        let mut apart = Plan::of_op(Box::new(Add { elements: 60 }));
        apart.buffers[0].name = "parameter.1".into();
        gpu.prepare(Arc::new(apart)).unwrap();
        let plan = Arc::new(Plan::of_op(Box::new(update())));
        let error = gpu.prepare(plan.clone()).unwrap_err().to_string();
        let expected =
            "adam needs parameter.0 to parameter.3 side by side, and another plan has placed them otherwise";
        assert!(error.contains(expected), "{error}");
        gpu.clear();
        gpu.prepare(plan).unwrap();
    }

    #[test]
    fn a_lost_device_says_so_in_one_line_whatever_is_asked_of_it() {
        let Some(gpu) = open("a_lost_device_says_so") else { return };
        let mut gpu = gpu.with_tuning(Tuning::default());
        let plan = Arc::new(Plan::of_op(Box::new(Add { elements: 100 })));
        let prepared = gpu.prepare(plan.clone()).unwrap();
        let sum = plan.expect("sum");
        gpu.run(prepared, 1).unwrap();
        let under_way = gpu.read_later(prepared, sum).unwrap();

        gpu.context.fault.explain("nothing to explain");
        assert!(gpu.wait().is_ok());
        gpu.context.fault.note_lost("the driver says:\n  ring 0 hangs.\n");
        gpu.context.device.destroy();
        let ones = HostBuffer::real(vec![1.0; 100]);
        let errors = [
            gpu.run(prepared, 1).unwrap_err(),
            gpu.time(prepared, 1).unwrap_err(),
            gpu.wait().unwrap_err(),
            gpu.write(prepared, plan.expect("a"), &ones).unwrap_err(),
            gpu.read(prepared, sum).unwrap_err(),
            gpu.prepare(plan.clone()).unwrap_err(),
        ];
        let name = gpu.device_name();
        for error in errors {
            let text = error.to_string();
            let lost = "failed: the device was lost (the driver says: ring 0 hangs); try a smaller batch";
            assert!(text.starts_with(&name) && text.contains(lost), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        // Results that the device finished before it was lost may still arrive.
        if let Err(error) = under_way.wait() {
            assert!(error.to_string().contains("the device was lost"), "{error}");
        }
    }
}
