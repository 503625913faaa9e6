//! What launches cost on a GPU, and what a training step is made of; a JSON object a line.
//!
//!     cargo bench --bench launches -- DEVICE                        a thousand empty launches, with and without barriers
//!     cargo bench --bench launches -- DEVICE wake                   how long a device that idled takes to reach its rate
//!     cargo bench --bench launches -- DEVICE MODEL BATCH_SIZE       a training step: launches, barriers, bytes and times,
//!                                                                   and each of its operations alone
//!     cargo bench --bench launches -- rules MODEL BATCH_SIZE        without a GPU: the launches of a step on a large one, by
//!                                                                   the rules
//!
//! DEVICE is what `--device` takes; a software rasteriser is allowed. Implementations are those that tuning finds, or with
//! WGCONV_NO_TUNE=1 those of the rules. Times are medians; the host's is that of recording, encoding and submitting.

#[path = "shared/profile.rs"]
mod profile;
mod shared;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use profile::discrete_gpu;
use serde_json::{Map, Value, json};
use shared::contents;
use wgconv::bench::{BenchDevice, Timing};
use wgconv::device::{DeviceKind, DeviceProfile};
use wgconv::executors::OpenOptions;
use wgconv::gpu::{LateSums, Tuning};
use wgconv::ops::ceilings::FmaRate;
use wgconv::ops::kernel::{Binding, Implementation, KernelCall, Source};
use wgconv::ops::{CpuForm, Element, HostBuffer, Op, Operand, Operands, Precision};
use wgconv::plan::{Allocation, Plan, Prepared, Prologues, Workbench};

/// Launches of the empty kernel.
const LAUNCHES: usize = 1000;

/// Steps from one start of the step counter to the next, at most.
const MOST_STEPS: usize = 256;

/// Time to spend on a figure.
const BUDGET: Duration = Duration::from_secs(2);

/// Time to spend on an operation alone.
const OPERATION_BUDGET: Duration = Duration::from_millis(50);

/// Fewer samples than this have no median worth printing.
const FEWEST_SAMPLES: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some((device, work)) = arguments.split_first() else {
        println!("launches: skipped, since no device is given");
        return Ok(());
    };
    if let ("rules", [model, batch_size]) = (device.as_str(), work) {
        let profile = discrete_gpu(132);
        let plan = training_plan(model, batch_size.parse()?, &profile)?;
        let census = Census::new(&plan, &profile, |op| op.implementations(&profile).swap_remove(0));
        print(json!({ "step": model, "batch": batch_size }), &census.figures(), &Map::new());
        return Ok(());
    }
    let tunes = std::env::var_os("WGCONV_NO_TUNE").is_none_or(|value| value.is_empty());
    let options =
        OpenOptions { allow_software: true, tuning: tunes.then(Tuning::default), ..OpenOptions::default() };
    let (mut device, _) = BenchDevice::open(&device.parse()?, &options)?;
    let mut about = device.describe();
    about.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    about.insert("commit".into(), option_env!("WGCONV_COMMIT").into());
    let BenchDevice::Gpu(adapter, executor) = &mut device else {
        return Err("expected a GPU, found the CPU".into());
    };
    let (profile, executor) = (adapter.profile().clone(), executor.as_mut());
    match work {
        [] => {
            for (what, writes) in [("dependent", true), ("independent", false)] {
                print(empty_launches(executor, Empty { writes })?, &[("launches", what.into())], &about);
            }
        }
        [what] if what == "wake" => {
            for idle_ms in [10, 100, 500, 2000] {
                print(
                    wake(executor, &profile, Duration::from_millis(idle_ms))?,
                    &[("idle_ms", idle_ms.into())],
                    &about,
                );
            }
        }
        [model, batch_size] => {
            let batch_size: usize = batch_size.parse()?;
            let plan = Arc::new(training_plan(model, batch_size, &profile)?);
            let census = Census::new(&plan, &profile, |op| {
                let (name, _) = executor.choose(op);
                let mut named = op.implementations(&profile).into_iter().filter(|found| found.name == name);
                named.next().expect("the implementation that was chosen")
            });
            let times = step(executor, &plan, batch_size)?;
            let mut what = vec![("step", model.as_str().into()), ("batch", batch_size.into())];
            what.extend(census.figures());
            print(times, &what, &about);
            let alone = training_plan(model, batch_size, &profile)?;
            for times in operations(executor, alone)? {
                print(
                    times,
                    &[("operation_of", model.as_str().into()), ("batch", batch_size.into())],
                    &Map::new(),
                );
            }
        }
        _ => {
            return Err(
                "expected DEVICE, DEVICE wake, DEVICE MODEL BATCH_SIZE or rules MODEL BATCH_SIZE".into()
            );
        }
    }
    Ok(())
}

/// A step as a training on this device takes it.
fn training_plan(model: &str, batch_size: usize, profile: &DeviceProfile) -> Result<Plan, Box<dyn Error>> {
    let prologues = Prologues::WhereTheyPayAt(profile.elements_per_launch());
    shared::training_plan(model, batch_size, MOST_STEPS, prologues, true)
}

/// Prints an object: what it is about, the times, and the device.
fn print(times: Value, what: &[(&str, Value)], about: &Map<String, Value>) {
    let mut object: Map<String, Value> =
        what.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    object.extend(times.as_object().expect("an object").clone());
    object.extend(about.clone());
    println!("{}", Value::from(object));
}

/// Medians of the milliseconds that `sample` takes, of which there may be several kinds.
fn medians<const N: usize>(
    mut sample: impl FnMut() -> wgconv::Result<[Duration; N]>,
) -> wgconv::Result<[f64; N]> {
    sample()?;
    let (start, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < FEWEST_SAMPLES || start.elapsed() < BUDGET {
        samples.push(sample()?);
    }
    Ok(std::array::from_fn(|kind| {
        Timing::of(samples.iter().map(|sample| sample[kind].as_secs_f64() * 1e3).collect()).median
    }))
}

/// Time of the host, of both, and of the device by its own clock.
fn three_times(
    executor: &mut dyn Workbench,
    prepared: Prepared,
    times: usize,
) -> wgconv::Result<[Duration; 3]> {
    executor.wait()?;
    let start = Instant::now();
    executor.run(prepared, times)?;
    let host = start.elapsed();
    executor.wait()?;
    let wall = start.elapsed();
    Ok([host, wall, executor.time(prepared, times)?])
}

/// An operation that does nothing, to a buffer that it writes, so that each launch waits for the one before it, or that it
/// reads.
#[derive(Clone, Copy, Debug)]
struct Empty {
    writes: bool,
}

impl Op for Empty {
    fn name(&self) -> &'static str {
        "empty"
    }
    fn operands(&self) -> Vec<Operand> {
        vec![if self.writes { Operand::update("data", [64]) } else { Operand::read("data", [64]) }]
    }
    fn define(&self, _: &mut Operands<f64>) {}
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|_| {})
    }
    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        // The condition never holds, and no compiler knows.
        let (name, body) = match self.writes {
            true => ("empty_write", "if (data[local] > 3e38) { data[local] = 1.0; }"),
            false => ("empty_read", "if (data[local] > 3e38) { shared_value = 1.0; }"),
        };
        let access = if self.writes { "read_write" } else { "read" };
        let text = format!(
            "@group(0) @binding(0) var<storage, {access}> data: array<f32>;
            var<workgroup> shared_value: f32;
            @compute @workgroup_size(64)
            fn main(@builtin(local_invocation_index) local: u32) {{ {body} }}"
        );
        let source = Source { name, files: vec![text.leak()], ..Source::default() };
        let call =
            KernelCall { source, constants: vec![], bindings: Binding::operands(1), workgroups: [1, 1, 1] };
        vec![Implementation::of(name, call)]
    }
    fn flops(&self) -> u64 {
        0
    }
    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}

fn empty_launches(executor: &mut dyn Workbench, op: Empty) -> wgconv::Result<Value> {
    executor.clear();
    let prepared = executor.prepare(Arc::new(Plan::of_op(Box::new(op))))?;
    let [host, wall, gpu] = medians(|| three_times(executor, prepared, LAUNCHES))?;
    let each = |milliseconds: f64| milliseconds * 1e3 / LAUNCHES as f64;
    Ok(json!({
        "count": LAUNCHES,
        "host_us": each(host),
        "wall_us": each(wall),
        "gpu_us": each(gpu),
        "timed_by": executor.timed_by().to_string(),
    }))
}

/// Times the same short work again and again after a pause.
fn wake(executor: &mut dyn Workbench, profile: &DeviceProfile, idle: Duration) -> wgconv::Result<Value> {
    executor.clear();
    // A GPU of 60 TFLOP/s needs half a millisecond.
    let elements = if profile.kind == DeviceKind::Software { 1 << 14 } else { 1 << 20 };
    let op = FmaRate { elements, rounds: 256 };
    let prepared = executor.prepare(Arc::new(Plan::of_op(Box::new(op))))?;
    executor.time(prepared, 1)?;
    std::thread::sleep(idle);
    let (start, mut samples) = (Instant::now(), Vec::new());
    while start.elapsed() < BUDGET {
        let begin = start.elapsed().as_secs_f64() * 1e3;
        samples.push((begin, executor.time(prepared, 1)?.as_secs_f64() * 1e3));
    }
    let least = samples.iter().map(|&(_, ms)| ms).fold(f64::INFINITY, f64::min);
    let awake = samples.iter().rev().find(|&&(_, ms)| ms > 1.1 * least).map_or(0.0, |&(begin, _)| begin);
    let shown: Vec<[f64; 2]> = samples
        .iter()
        .scan(-1.0, |next, &(begin, ms)| {
            let is_due = begin >= *next;
            *next = if is_due { begin.max(1.0) * 1.3 } else { *next };
            Some(is_due.then_some([begin, ms]))
        })
        .flatten()
        .collect();
    Ok(json!({ "first_ms": samples[0].1, "least_ms": least, "awake_after_ms": awake, "samples": shown }))
}

/// Gives every buffer that keeps its content between runs a random one.
fn fill(executor: &mut dyn Workbench, prepared: Prepared, plan: &Plan) -> wgconv::Result<()> {
    for (spec, content) in plan.buffers.iter().zip(contents(plan)) {
        if spec.role.is_persistent() {
            executor.write(prepared, plan.expect(&spec.name), &content)?;
        }
    }
    Ok(())
}

fn step(executor: &mut dyn Workbench, plan: &Arc<Plan>, batch_size: usize) -> wgconv::Result<Value> {
    executor.clear();
    let prepared = executor.prepare(plan.clone())?;
    fill(executor, prepared, plan)?;
    // So many steps that one wait at their end weighs little.
    let once = three_times(executor, prepared, 1)?[1];
    let times = (0.1 / once.as_secs_f64()).clamp(1.0, 100.0) as usize;
    let counter = plan.expect("train/step");
    let [host, wall, gpu] = medians(|| {
        // Past its last step a plan changes nothing.
        executor.write(prepared, counter, &HostBuffer::index(vec![0]))?;
        three_times(executor, prepared, times)
    })?;
    let each = |milliseconds: f64| milliseconds / times as f64;
    Ok(json!({
        "host_ms": each(host),
        "wall_ms": each(wall),
        "gpu_ms": each(gpu),
        "images_per_s": batch_size as f64 / each(wall) * 1e3,
        "timed_by": executor.timed_by().to_string(),
    }))
}

/// The device's time for each operation of a plan alone, those that are the same counted together.
fn operations(executor: &mut dyn Workbench, mut plan: Plan) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut distinct: Vec<(String, usize, Box<dyn Op>)> = Vec::new();
    let steps = plan.forward.drain(..).chain(plan.backward.drain(..)).chain(plan.update.drain(..));
    for op in steps.map(|step| step.op) {
        let text = format!("{op:?}");
        match distinct.iter_mut().find(|(other, ..)| *other == text) {
            Some((_, count, _)) => *count += 1,
            None => distinct.push((text, 1, op)),
        }
    }
    let mut rows = Vec::new();
    for (_, count, op) in distinct {
        executor.clear();
        let (name, flops) = (op.name(), op.flops());
        let (implementation, _) = executor.choose(op.as_ref());
        let shapes: Vec<String> = op.operands().iter().map(|operand| operand.shape.to_string()).collect();
        let plan = Arc::new(Plan::of_op(op));
        let prepared = executor.prepare(plan.clone())?;
        fill(executor, prepared, &plan)?;
        let once = executor.time(prepared, 1)?.as_secs_f64();
        let times = (OPERATION_BUDGET.as_secs_f64() / 5.0 / once.max(1e-9)).clamp(1.0, 1000.0) as usize;
        let samples = (0..5).map(|_| Ok(executor.time(prepared, times)?.as_secs_f64() * 1e6 / times as f64));
        let us = Timing::of(samples.collect::<wgconv::Result<_>>()?).median;
        rows.push(json!({
            "operation": name,
            "implementation": implementation,
            "count": count,
            "us": us,
            "gflops": flops as f64 / us / 1e3,
            "operands": shapes.join(" "),
        }));
    }
    Ok(rows)
}

/// The launches of a plan.
#[derive(Default)]
struct Census {
    launches: usize,
    /// Those of each operation.
    by_op: BTreeMap<&'static str, usize>,
    /// Launches that wait for an earlier one: a buffer that they bind was written, or is written by them.
    barriers: usize,
    /// Compiled kernels that differ.
    programs: usize,
    /// Of all buffers that launches bind, as often as they bind them.
    bytes: u64,
    flops: u64,
}

impl Census {
    /// The figures by their names.
    fn figures(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("launches", self.launches.into()),
            ("by_op", json!(self.by_op)),
            ("barriers", self.barriers.into()),
            ("programs", self.programs.into()),
            ("bound_mib", (self.bytes as f64 / f64::from(1 << 20)).into()),
            ("gflop", (self.flops as f64 / 1e9).into()),
        ]
    }

    fn new(plan: &Plan, profile: &DeviceProfile, mut choose: impl FnMut(&dyn Op) -> Implementation) -> Self {
        let mut chosen: Vec<Implementation> = plan.steps().map(|step| choose(step.op.as_ref())).collect();
        let late_sums = LateSums::take_from(plan, &mut chosen, profile, u64::MAX);
        let workspace: Vec<Vec<usize>> = chosen.iter().map(|chosen| chosen.workspace.clone()).collect();
        let lasting: Vec<Vec<(usize, usize)>> = late_sums.iter().map(|late| late.slices.clone()).collect();
        let allocation = Allocation::new(plan, &workspace, &lasting);
        let arena_of = plan.arena_of_buffers();
        let mut census = Census::default();
        let mut programs = HashSet::new();
        let mut note_program = |call: &KernelCall| {
            programs.insert((call.source.compose(), format!("{:?}", call.constants)));
        };
        // Whether a piece of memory was last bound to be written.
        let mut is_written: HashMap<String, bool> = HashMap::new();
        let steps = plan.steps().zip(&chosen).zip(&allocation.of_workspace);
        for (place, ((step, implementation), scratch)) in steps.enumerate() {
            for late in late_sums.iter().filter(|late| late.reader == place) {
                let slices =
                    late.slices.iter().map(|&(step, own)| Element::Real.bytes(chosen[step].workspace[own]));
                census.bytes += slices.sum::<u64>();
                // Otherwise, the step adds them.
                if let Some(launch) = &late.launch {
                    // It waits for the gradients, and the update for it.
                    census.launches += 1;
                    census.barriers += 1;
                    *census.by_op.entry(launch.name).or_default() += 1;
                    launch.calls.iter().for_each(&mut note_program);
                }
            }
            census.flops += step.op.flops();
            for call in &implementation.calls {
                let text = call.source.compose();
                let mut waits = false;
                for (number, &binding) in call.bindings.iter().enumerate() {
                    // Buffers that lie side by side are one to the device.
                    let of_operand = |operand: usize| {
                        let id = step.operands[operand];
                        let spec = plan.buffer(id);
                        let slot = allocation.of_buffer[id.index()].map(|slot| format!("slot {slot}"));
                        let arena = arena_of[id.index()].map(|arena| format!("arena {arena}"));
                        (arena.or(slot).unwrap_or_else(|| spec.name.clone()), spec.bytes())
                    };
                    let (memory, bytes) = match binding {
                        Binding::Operand(operand) => of_operand(operand),
                        Binding::Span { first, last } => {
                            (of_operand(first).0, (first..=last).map(|operand| of_operand(operand).1).sum())
                        }
                        // Those of late sums, which are counted above.
                        Binding::Workspace(buffer) if implementation.workspace.is_empty() => {
                            (if buffer == 0 { "slices 0" } else { "table" }.to_owned(), 0)
                        }
                        Binding::Workspace(buffer) => {
                            let elements = implementation.workspace[buffer];
                            let waits =
                                late_sums.iter().position(|late| late.slices.contains(&(place, buffer)));
                            let memory = waits.map(|late| format!("slices {late}"));
                            let of_slot = || format!("slot {}", scratch[buffer]);
                            (memory.unwrap_or_else(of_slot), Element::Real.bytes(elements))
                        }
                    };
                    let writes = text.contains(&format!("@binding({number}) var<storage, read_write>"));
                    waits |= is_written.insert(memory, writes).is_some_and(|before| before || writes);
                    census.bytes += bytes;
                }
                census.launches += 1;
                *census.by_op.entry(step.op.name()).or_default() += 1;
                census.barriers += usize::from(waits);
                note_program(call);
            }
        }
        census.programs = programs.len();
        census
    }
}
