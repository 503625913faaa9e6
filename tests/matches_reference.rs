//! Every implementation of every operation, in every case, on the GPU and on the CPU, gives the definition's answer:
//! exactly on small integers, and on reals within a bound that grows with the length of the sums.

mod common;

use std::collections::HashSet;
use std::sync::Mutex;

use wgconv::device::{DeviceKind, DeviceProfile, MatrixUnits};
use wgconv::gpu::{GpuExecutor, ShaderChecks};
use wgconv::host::CpuExecutor;
use wgconv::ops::kernel::Implementation;
use wgconv::ops::{Access, CpuForm, HostBuffer, Op, Operand, Operands, Precision, Read};
use wgconv::plan::{Executor, Workbench};
use wgconv::verify::cases::{self, Case};
use wgconv::verify::{Data, Trial};

const DATA: [Data; 2] = [Data::Integers, Data::Reals];

fn trial(case: Case, data: Data) -> Option<(String, Trial)> {
    let name = format!("{} ({}, {data:?})", case.op.name(), case.name);
    Some((name, Trial::new(case.op, data, 7)?))
}

/// Whether an implementation of an operation is to be tried.
type Wanted<'a> = &'a dyn Fn(&dyn Op, &str) -> bool;

/// What went wrong, and the number of trials.
type Found = (Vec<String>, usize);

/// Runs every `step`th case from number `first` on, on `executor` in each of its implementations that are wanted.
fn run(executor: &mut dyn Workbench, first: usize, step: usize, is_wanted: Wanted) -> Found {
    let mut failures = Vec::new();
    let mut trials = 0;
    let cases = cases::all().into_iter().zip(cases::all());
    for (case, again) in cases.skip(first).step_by(step) {
        let mut implementations = executor.implementations(case.op.as_ref());
        implementations.retain(|implementation| is_wanted(case.op.as_ref(), implementation));
        for (case, data) in [case, again].into_iter().zip(DATA) {
            let Some((name, trial)) = trial(case, data) else { continue };
            let op = trial.plan().forward[0].op.as_ref();
            for &implementation in &implementations {
                if data == Data::Integers && !executor.is_exact_on_integers(op, implementation) {
                    continue;
                }
                trials += 1;
                match trial.run_as(executor, implementation) {
                    Ok(Ok(_)) => {}
                    Ok(Err(mismatch)) => failures.push(format!("{name}, {implementation}: {mismatch}")),
                    Err(error) => failures.push(format!("{name}, {implementation}: {error}")),
                }
            }
        }
    }
    (failures, trials)
}

fn assert_none_failed((failures, trials): Found, device: &str) {
    assert!(failures.is_empty(), "{} of {trials} trials failed:\n{}", failures.len(), failures.join("\n"));
    println!("{trials} trials passed on {device}");
}

#[test]
fn the_cpu_matches_the_definitions() {
    let mut cpu = CpuExecutor::new();
    assert_none_failed(run(&mut cpu, 0, 1, &|_, _| true), &cpu.device_name());
}

/// Runs every case on the GPU, in each implementation that is wanted. Most of the time compiles kernels, some drivers on the
/// thread that runs them: so each core has an executor of its own.
fn gpu_matches(
    test: &str,
    checks: ShaderChecks,
    is_wanted: impl Fn(&dyn Op, &Implementation) -> bool + Sync,
) {
    let Some(gpu) = common::gpu(test, checks) else { return };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = |first: usize| {
        let mut gpu = common::gpu(test, checks).expect("the same GPU");
        let profile = gpu.profile().clone();
        let is_wanted_by_name = |op: &dyn Op, name: &str| {
            let offered = op.implementations(&profile);
            let found = offered.iter().find(|implementation| implementation.name == name);
            is_wanted(op, found.expect("one that the executor knows"))
        };
        run(&mut gpu, first, cores, &is_wanted_by_name)
    };
    let found: Vec<Found> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|first| scope.spawn(move || work(first))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that does not panic")).collect()
    });
    let (failures, trials): (Vec<_>, Vec<usize>) = found.into_iter().unzip();
    assert_none_failed((failures.concat(), trials.iter().sum()), &gpu.device_name());
}

#[test]
fn the_gpu_matches_the_definitions_without_shader_checks() {
    gpu_matches("the_gpu_matches_the_definitions_without_shader_checks", ShaderChecks::Off, |_, _| true);
}

/// Checks are part of the kernel's text, whatever its constants are: a case for each text of each operation.
#[test]
fn the_gpu_matches_the_definitions_with_shader_checks() {
    let seen = Mutex::new(HashSet::new());
    let is_news = |op: &dyn Op, implementation: &Implementation| {
        let mut seen = seen.lock().unwrap();
        let news = implementation.calls.iter().filter(|call| seen.insert((op.name(), call.source.clone())));
        news.count() > 0
    };
    gpu_matches("the_gpu_matches_the_definitions_with_shader_checks", ShaderChecks::On, is_news);
}

/// An operation with other implementations than its own.
struct Offering<F>(Box<dyn Op>, F);

impl<F> std::fmt::Debug for Offering<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<F: Fn(&dyn Op, &DeviceProfile) -> Vec<Implementation> + Send + Sync + 'static> Op for Offering<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn operands(&self) -> Vec<Operand> {
        self.0.operands()
    }

    fn side_by_side(&self) -> Vec<std::ops::Range<usize>> {
        self.0.side_by_side()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.0.define(operands);
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        self.0.cpu_forms()
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        self.1(self.0.as_ref(), device)
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn precision(&self) -> Precision {
        self.0.precision()
    }

    fn precision_of(&self, operand: usize) -> Precision {
        self.0.precision_of(operand)
    }

    fn chosen(&self, read: &Read<'_>, operand: usize, position: usize, index: u32) -> Option<f64> {
        self.0.chosen(read, operand, position, index)
    }
}

/// An operation whose launches are all split into pieces.
fn in_pieces(op: Box<dyn Op>) -> Box<dyn Op> {
    Box::new(Offering(op, |op: &dyn Op, device: &DeviceProfile| {
        let mut implementations = op.implementations(device);
        for implementation in &mut implementations {
            let calls = implementation.calls.drain(..).flat_map(|call| call.in_pieces(3));
            implementation.calls = calls.collect::<Vec<_>>();
        }
        implementations
    }))
}

/// An operation with the implementations that it would have on another device.
fn on_device(op: Box<dyn Op>, device: DeviceProfile) -> Box<dyn Op> {
    Box::new(Offering(op, move |op: &dyn Op, _: &DeviceProfile| op.implementations(&device)))
}

/// A program that has been proved: its operation, its kernel and its sizes.
type Program = (&'static str, &'static str, Vec<(&'static str, u32)>);

/// Proves every program that operations choose on a GPU with so many multiprocessors and so much workgroup memory, on the device
/// at hand and within its limits, unless the device chooses it itself or it is among those `seen`.
fn prove_kernels_for(
    multiprocessors: u32,
    max_workgroup_bytes: u32,
    gpu: &mut GpuExecutor,
    seen: &Mutex<HashSet<Program>>,
) {
    let device = DeviceProfile {
        kind: DeviceKind::DiscreteGpu,
        multiprocessors: Some(multiprocessors),
        max_workgroup_bytes: gpu.profile().max_workgroup_bytes.min(max_workgroup_bytes),
        ..gpu.profile().clone()
    };
    for case in cases::all() {
        let name = case.to_string();
        let known = case.op.implementations(gpu.profile());
        let is_news = |implementation: &Implementation| {
            let mut programs = implementation.calls.iter().map(|call| {
                let mut sizes = call.source.sizes.clone();
                // How many tiles lie in memory concerns the file that all products share: one operation proves it.
                if case.op.name() != "conv2d.forward" {
                    sizes.retain(|&(name, _)| name != "TILES");
                }
                (case.op.name(), call.source.name, sizes)
            });
            let mut seen = seen.lock().unwrap();
            !known.contains(implementation) && programs.any(|program| seen.insert(program))
        };
        let offered = case.op.implementations(&device);
        let news: Vec<Implementation> = offered.into_iter().filter(is_news).collect();
        if news.is_empty() {
            continue;
        }
        let trial = Trial::new(on_device(case.op, device.clone()), Data::Reals, 7);
        let trial = trial.expect("reals suit every operation");
        for implementation in news {
            let answer = trial.run_as(gpu, implementation.name).expect("a device that works");
            assert!(answer.is_ok(), "{name}, {}: {}", implementation.name, answer.unwrap_err());
        }
    }
}

/// With one multiprocessor and with many, operations choose large and small tiles. On the device at hand and within its
/// limits, this tests each tile in each operation that has it.
#[test]
fn kernels_for_other_devices_match_the_definitions() {
    let open = || common::gpu("kernels_for_other_devices_match_the_definitions", ShaderChecks::Off);
    let Some(gpu) = open() else { return };
    let seen = Mutex::new(HashSet::new());
    // Side by side, since a software rasteriser compiles on one core alone.
    std::thread::scope(|scope| {
        for (multiprocessors, max_workgroup_bytes) in [(1, 32 << 10), (132, 32 << 10), (1, 16 << 10)] {
            let seen = &seen;
            scope.spawn(move || {
                let mut gpu = open().expect("it was there before");
                prove_kernels_for(multiprocessors, max_workgroup_bytes, &mut gpu, seen);
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let mut missing = Vec::new();
    for op in ["conv2d.forward", "conv2d.grad_filters", "conv2d.grad_input"] {
        let large = [[128, 128], [128, 64], [64, 128], [64, 64]];
        let narrow = [[256, 32], [256, 16], [128, 32], [32, 128], [32, 32]];
        for tile in large.into_iter().chain(narrow) {
            let is_proved = seen.iter().any(|(seen_op, _, sizes)| {
                let size = |name: &str| sizes.iter().find(|(found, _)| *found == name).map(|&(_, size)| size);
                *seen_op == op
                    && size("THREAD_M").is_some()
                    && [size("TILE_M"), size("TILE_N")] == tile.map(Some)
            });
            missing.extend((!is_proved).then(|| format!("{op} {tile:?}")));
        }
    }
    for op in ["conv2d.forward", "conv2d.grad_input"] {
        for rows in [4, 8] {
            let is_proved = seen.iter().any(|(seen_op, source, sizes)| {
                *seen_op == op && source.starts_with("conv/staged/") && sizes.contains(&("ROWS", rows))
            });
            missing.extend((!is_proved).then(|| format!("{op}, {rows} staged rows")));
        }
    }
    assert!(missing.is_empty(), "no case reaches these kernels: {}", missing.join(", "));
    println!("{} kernels for other devices passed on {}", seen.len(), gpu.profile().name);
}

/// Kernels for matrix units: on those of the device, if it has any, and with what they do in scalar code, which lacks nothing of
/// these kernels but the units themselves.
#[test]
fn matrix_units_match_the_definitions() {
    let Some(adapter) = common::adapter("matrix_units_match_the_definitions") else { return };
    let own = adapter.profile().matrix_units;
    const MATRIX_UNITS: &str = "matrix_units_";
    let emulated = [8, 32].map(|lanes| MatrixUnits { lines: 8, lanes, emulated: true });
    let mut proved = HashSet::new();
    let mut trials = 0;
    for units in own.into_iter().chain(emulated) {
        let mut gpu = GpuExecutor::open_with_matrix_units(&adapter).expect("an adapter that opens");
        // One multiprocessor asks for large tiles, many for small ones and for slices.
        for multiprocessors in [1, 132] {
            let device = DeviceProfile {
                kind: DeviceKind::DiscreteGpu,
                multiprocessors: Some(multiprocessors),
                matrix_units: Some(units),
                ..gpu.profile().clone()
            };
            for (case, again) in cases::all().into_iter().zip(cases::all()) {
                let name = format!("{case}, {units:?}");
                let mut ways = case.op.implementations(&device);
                ways.retain(|way| way.name.starts_with(MATRIX_UNITS));
                // Drivers compile scalar code for this slowly: of each operation, it proves a tile, and of one slices and all tiles.
                let op = case.op.name();
                ways.retain(|way| {
                    let fetching = way.calls[0].source.files.iter().filter(|text| text.contains("four"));
                    let kind = (way.calls[0].bindings.len(), fetching.count());
                    let is_split = way.name.ends_with("_split");
                    let is_wanted = !units.emulated
                        || op == "dense.forward"
                        || (units.lanes == 8 && (!is_split || op == "conv2d.forward"));
                    let kind = if units.emulated { Default::default() } else { kind };
                    is_wanted && proved.insert((op, way.name, kind, units))
                });
                let data = DATA.into_iter().zip([case.op, again.op]);
                for (data, op) in data.take(if ways.is_empty() { 0 } else { 2 }) {
                    let Some(trial) = Trial::new(on_device(op, device.clone()), data, 7) else { continue };
                    for way in &ways {
                        trials += 1;
                        let answer = trial.run_as(&mut gpu, way.name).expect("a device that works");
                        assert!(answer.is_ok(), "{name}, {data:?}, {}: {}", way.name, answer.unwrap_err());
                    }
                }
            }
        }
    }
    for op in ["conv2d.forward", "conv2d.grad_filters", "conv2d.grad_input", "dense.forward"] {
        let names: HashSet<&str> = proved.iter().filter(|way| way.0 == op).map(|way| way.1).collect();
        assert!(names.len() >= if op == "dense.forward" { 4 } else { 1 }, "{op}: {names:?}");
    }
    println!("{trials} trials passed on {}, whose own matrix units are {own:?}", adapter.profile().name);
}

/// Parameters that a device cannot bind at once are updated, and their gradients summed, in several launches.
#[test]
fn spans_in_parts_match_the_definitions() {
    let Some(mut gpu) = common::gpu("spans_in_parts_match_the_definitions", ShaderChecks::On) else { return };
    let mut cut = 0;
    for bytes in [256, 4096, 1 << 18] {
        let device = DeviceProfile { max_binding_bytes: bytes, ..gpu.profile().clone() };
        for case in cases::all().into_iter().filter(|case| !case.op.side_by_side().is_empty()) {
            let name = case.to_string();
            let calls = |device| case.op.implementations(device)[0].calls.len();
            cut += usize::from(calls(&device) > calls(gpu.profile()));
            let trial = Trial::new(on_device(case.op, device.clone()), Data::Reals, 7);
            gpu.clear();
            let answer =
                trial.expect("reals suit every operation").run(&mut gpu).expect("a device that works");
            assert!(answer.is_ok(), "{name}, {bytes} bytes: {}", answer.unwrap_err());
        }
    }
    assert!(cut > 20, "only {cut} operations were cut");
}

/// Work that would run for seconds is split into launches, each of which runs a part of the workgroups: every kernel, as this
/// device and a GPU choose it.
#[test]
fn kernels_in_pieces_match_the_definitions() {
    let Some(mut gpu) = common::gpu("kernels_in_pieces_match_the_definitions", ShaderChecks::Off) else {
        return;
    };
    let of_a_gpu =
        DeviceProfile { kind: DeviceKind::DiscreteGpu, multiprocessors: Some(132), ..gpu.profile().clone() };
    let mut seen = HashSet::new();
    let mut cut = HashSet::new();
    for device in [gpu.profile().clone(), of_a_gpu] {
        for case in cases::all() {
            let name = case.to_string();
            let mut news = Vec::new();
            for implementation in case.op.implementations(&device) {
                let mut is_news = false;
                for call in &implementation.calls {
                    // A product is done in tiles, or as a rasteriser does it best.
                    let is_tiled = call.source.sizes.iter().any(|&(name, _)| name == "THREAD_M");
                    let kernel = (call.source.name, is_tiled);
                    seen.insert(kernel);
                    is_news |= call.workgroups[0] > 1 && cut.insert(kernel);
                }
                news.extend(is_news.then_some(implementation.name));
            }
            if news.is_empty() {
                continue;
            }
            let op = in_pieces(on_device(case.op, device.clone()));
            let trial = Trial::new(op, Data::Reals, 7).expect("reals suit every operation");
            for implementation in news {
                let answer = trial.run_as(&mut gpu, implementation).expect("a device that works");
                assert!(answer.is_ok(), "{name}, {implementation}: {}", answer.unwrap_err());
            }
        }
    }
    let whole: Vec<&str> = seen.difference(&cut).map(|&(name, _)| name).collect();
    let lonely = [
        "batch/advance.wgsl",
        "loss/restore.wgsl",
        "loss/softmax_cross_entropy_total.wgsl",
        "loss/softmax_cross_entropy_whole.wgsl",
        "loss/total_weight.wgsl",
        "optimizer/gradient_norm_total.wgsl",
    ];
    assert!(whole.iter().all(|name| lonely.contains(name)), "no case cuts {whole:?}");
    println!("{} kernels in pieces passed on {}", cut.len(), gpu.profile().name);
}

/// A definition of single elements agrees with that of the whole operation. Every operation with a choice of
/// implementations has one, since the tuner uses it to check a sample of its reference's answer.
#[test]
fn definitions_of_elements_agree_with_those_of_the_whole() {
    const MOST: usize = 300;
    let mut checked = 0;
    for case in cases::all() {
        let name = case.to_string();
        let operands = case.op.operands();
        let is_tuned = case.op.implementations(&DeviceProfile::portable()).len() > 1
            && operands.iter().all(|operand| operand.element == wgconv::ops::Element::Real);
        let value = |buffer: &HostBuffer<f64>, position: usize| match buffer.element() {
            wgconv::ops::Element::Index => f64::from(buffer.indices()[position]),
            _ => buffer.reals()[position],
        };
        let trial = Trial::new(case.op, Data::Reals, 7).expect("reals suit every operation");
        let op = trial.plan().forward[0].op.as_ref();
        let written = operands.iter().zip(trial.answer()).filter(|(operand, _)| operand.access.writes());
        let reals = written.filter(|(operand, _)| operand.element == wgconv::ops::Element::Real);
        let answer: Vec<f64> = reals.flat_map(|(_, answer)| answer.reals()).copied().collect();
        let elements = answer.len();
        if elements == 0 {
            continue;
        }
        let step = elements.div_ceil(MOST);
        for index in (0..elements).step_by(step).chain([elements - 1]) {
            let mut before = index;
            let defined = operands.iter().position(|operand| {
                let is_real = operand.element == wgconv::ops::Element::Real;
                let elements = if operand.access.writes() && is_real { operand.shape.elements() } else { 0 };
                let is_inside = before < elements;
                before -= if is_inside { 0 } else { elements };
                is_inside
            });
            // No element is defined by the operand that it belongs to, which is poisoned here.
            let read = |operand: usize, position: usize| match operands[operand].access {
                Access::Write if Some(operand) != defined => value(&trial.answer()[operand], position),
                _ => value(&trial.given()[operand], position),
            };
            let Some(found) = op.define_at(&read, index) else {
                assert!(!is_tuned, "{name}: no definition of an element");
                break;
            };
            let expected = answer[index];
            // Only the order of the sums differs, in f64.
            assert!((found - expected).abs() < 1e-9, "{name}[{index}]: expected {expected}, found {found}");
            checked += 1;
        }
    }
    println!("{checked} elements agree");
}

/// A negative control: a wrong element, a NaN, an infinity, a missing element, a wrong choice and a changed input all fail.
#[test]
fn wrong_answers_are_caught() {
    for data in DATA {
        for (name, trial) in cases::all().into_iter().filter_map(|case| trial(case, data)) {
            let op = trial.plan().forward[0].op.as_ref();
            let operands = op.operands();
            let given = |operand: usize, place: usize| trial.given()[operand].reals()[place];
            let is_choice = |operand: usize| op.chosen(&given, operand, 0, 0).is_some();
            assert!(trial.compare(&trial.expected()).is_ok(), "{name}: the right answer must pass");
            for (number, operand) in operands.iter().enumerate() {
                let spoilt = |spoil: &dyn Fn(&mut HostBuffer<f32>)| {
                    let mut answer = trial.expected();
                    spoil(&mut answer[number]);
                    trial.compare(&answer).is_err()
                };
                match operand.element {
                    wgconv::ops::Element::Real | wgconv::ops::Element::Half => {
                        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                            assert!(
                                spoilt(&|buffer| *buffer.reals_mut().last_mut().unwrap() = wrong),
                                "{name}"
                            );
                        }
                        assert!(spoilt(&|buffer| buffer.reals_mut()[0] += 1.0), "{name}: {}", operand.name);
                    }
                    // Of reals that are as large as each other, either may win.
                    wgconv::ops::Element::Index if is_choice(number) && data == Data::Reals => {
                        let wrong_at = |place: usize| spoilt(&|buffer| buffer.indices_mut()[place] ^= 1);
                        let elements = operand.shape.elements();
                        assert!((0..elements).any(wrong_at), "{name}: {}", operand.name);
                        assert!(spoilt(&|buffer| buffer.indices_mut()[0] += 4), "{name}: {}", operand.name);
                    }
                    wgconv::ops::Element::Index => {
                        assert!(spoilt(&|buffer| buffer.indices_mut()[0] ^= 1), "{name}: {}", operand.name);
                    }
                    wgconv::ops::Element::Byte => {}
                }
            }
        }
    }
}

/// The division of work between the threads of the CPU must not show: the answer of every form has the same bits on one
/// thread and on several.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let pools = [1, 3].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let mut forms = 0;
    for case in cases::all() {
        let operands = case.op.operands();
        let reals = |operand: &Operand| {
            let values = (0..operand.shape.elements()).map(|i| (i * 7919 % 251) as f32 / 251.0 - 0.5);
            HostBuffer::real(values.collect())
        };
        let given: Vec<HostBuffer<f32>> = operands
            .iter()
            .map(|operand| match operand.element {
                wgconv::ops::Element::Real => reals(operand),
                element => HostBuffer::zeros(element, operand.shape.elements()),
            })
            .collect();
        for form in case.op.cpu_forms() {
            let [one, several] = [&pools[0], &pools[1]].map(|pool| {
                let mut operands = Operands::new(given.clone());
                pool.install(|| form.run(&mut operands));
                operands.into_buffers()
            });
            for (one, several) in one.iter().zip(&several) {
                let bits = |buffer: &HostBuffer<f32>| -> Vec<u32> {
                    buffer.reals().iter().map(|value| value.to_bits()).collect()
                };
                let same = match one.element() {
                    wgconv::ops::Element::Real => bits(one) == bits(several),
                    _ => one == several,
                };
                assert!(same, "{case}, {}", form.name);
            }
            forms += 1;
        }
    }
    println!("{forms} forms give the same bits");
}
