//! Verified tuning: a wrong kernel never runs, however fast it is; findings are kept and reused; without time, the
//! rules decide.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wgconv::data;
use wgconv::device::{DeviceKind, DeviceProfile};
use wgconv::files::CacheFolder;
use wgconv::gpu::{Adapter, GpuExecutor, Preference, ShaderChecks, Tuning, TuningNotice};
use wgconv::network::{Network, Weights, presets};
use wgconv::ops::kernel::{Constant, Implementation, KernelCall, Source};
use wgconv::ops::{CpuForm, HostBuffer, Op, Operand, Operands, Precision, Read};
use wgconv::plan::{ChosenBy, Executor, Plan, Workbench};
use wgconv::train::{TrainSettings, Trainer};
use wgconv::verify::cases;

const ELEMENTS: usize = 5000;

/// `result[i] = FACTOR * input[i]`, computed `ROUNDS` times, or in place `result[i] += FACTOR * input[i]`.
const SCALE: &str = "
@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
override FIRST_WORKGROUP: u32;
override ROUNDS: u32;
override FACTOR: f32;
override IN_PLACE: u32;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) global: vec3<u32>) {
    let id = global + vec3(FIRST_WORKGROUP * 64u, 0u, 0u);
    if (id.x >= arrayLength(&result)) { return; }
    var value = 0.0;
    for (var i = 0u; i < ROUNDS; i++) {
        value = FACTOR * input[id.x] + 0.0 * value;
    }
    if (IN_PLACE == 1u) { value += result[id.x]; }
    result[id.x] = value;
}
";

/// One way to scale.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    name: &'static str,
    factor: f32,
    rounds: u32,
    workgroups: u32,
    source: &'static str,
}

const WHOLE: u32 = ELEMENTS.div_ceil(64) as u32;
const DIRECT: Way = Way { name: "direct", factor: 2.0, rounds: 50, workgroups: WHOLE, source: SCALE };
const FAST: Way = Way { name: "fast", rounds: 1, ..DIRECT };
const SLOW: Way = Way { name: "slow", rounds: 5000, ..DIRECT };
const WRONG: Way = Way { name: "wrong", factor: 2.001, ..FAST };
const WRONG_TOO: Way = Way { name: "wrong_too", ..WRONG };
/// Leaves out the last workgroup.
const LAZY: Way = Way { name: "lazy", workgroups: WHOLE - 1, ..FAST };
/// Does nothing, so that the result keeps its old content.
const IDLE: Way = Way { name: "idle", workgroups: 0, ..FAST };
const BROKEN: Way = Way { name: "broken", source: "fn main( {", ..FAST };

/// Doubles a tensor, in the ways that a test chooses.
#[derive(Clone, Copy, Debug)]
struct Scale {
    ways: &'static [Way],
    in_place: bool,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "test.scale"
    }
    fn operands(&self) -> Vec<Operand> {
        let result = if self.in_place { Operand::update } else { Operand::write };
        vec![Operand::read("input", [ELEMENTS]), result("result", [ELEMENTS])]
    }
    fn define(&self, operands: &mut Operands<f64>) {
        let [input, result] = operands.all();
        for (result, input) in result.reals_mut().iter_mut().zip(input.reals()) {
            *result = 2.0 * input + if self.in_place { *result } else { 0.0 };
        }
    }
    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        (!self.in_place).then(|| 2.0 * read(0, index))
    }
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        unreachable!("this one runs on the GPU")
    }
    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let implementation = |way: &Way| {
            let constants = vec![
                ("ROUNDS", Constant::U32(way.rounds)),
                ("FACTOR", Constant::F32(way.factor)),
                ("IN_PLACE", Constant::U32(self.in_place.into())),
            ];
            let source = Source { name: "scale.wgsl", files: vec![way.source], ..Source::default() };
            let call = KernelCall::elementwise(source, constants, 2, ELEMENTS);
            let workgroups = [way.workgroups, 1, 1];
            Implementation::of(way.name, KernelCall { workgroups, ..call })
        };
        self.ways.iter().map(implementation).collect()
    }
    fn flops(&self) -> u64 {
        ELEMENTS as u64
    }
    fn precision(&self) -> Precision {
        Precision::sum_of_products(2)
    }
}

/// A folder for caches, and the notices of tuners.
struct Place {
    folder: TempDir,
    notices: Arc<Mutex<Vec<TuningNotice>>>,
    adapter: Adapter,
}

impl Place {
    fn new(test: &str) -> Option<Place> {
        let adapter = common::adapter(test)?;
        Some(Place { folder: tempfile::tempdir().unwrap(), notices: Arc::default(), adapter })
    }

    fn executor_within(&self, budget: Duration) -> GpuExecutor {
        let notices = self.notices.clone();
        let tuning = Tuning {
            budget,
            cache: Some(CacheFolder::new(self.folder.path())),
            report: Arc::new(move |notice| notices.lock().unwrap().push(notice.clone())),
        };
        GpuExecutor::open(&self.adapter).unwrap().with_tuning(tuning)
    }

    /// An executor with enough time for everything, however busy the machine is.
    fn executor(&self) -> GpuExecutor {
        self.executor_within(Duration::from_secs(300))
    }

    /// The notices since the last call.
    fn notices(&self) -> Vec<TuningNotice> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    /// The files in the folder.
    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The one file in the folder.
    fn file(&self) -> PathBuf {
        let [file] = self.files().try_into().unwrap();
        file
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut json = self.json();
        edit(&mut json);
        fs::write(self.file(), json.to_string()).unwrap();
    }
}

fn rejected(notices: &[TuningNotice]) -> Vec<(String, String)> {
    let rejected = |notice: &TuningNotice| match notice {
        TuningNotice::Rejected { implementation, reason, .. } => {
            Some((implementation.clone(), reason.clone()))
        }
        _ => None,
    };
    notices.iter().filter_map(rejected).collect()
}

/// The number of tuned operations and of all operations in the last plan.
fn counts(notices: &[TuningNotice]) -> Option<(usize, usize)> {
    notices.iter().rev().find_map(|notice| match notice {
        TuningNotice::Done { tuned, operations, .. } => Some((*tuned, *operations)),
        _ => None,
    })
}

/// The result of `op` if its input and the old content of its result are all ones.
fn answer(executor: &mut GpuExecutor, op: Scale) -> Vec<f32> {
    executor.clear();
    let plan = Arc::new(Plan::of_op(Box::new(op)));
    let prepared = executor.prepare(plan.clone()).unwrap();
    for name in ["input", "result"] {
        let ones = HostBuffer::real(vec![1.0; ELEMENTS]);
        executor.write(prepared, plan.expect(name), &ones).unwrap();
    }
    executor.run(prepared, 1).unwrap();
    executor.read(prepared, plan.expect("result")).unwrap().reals().to_vec()
}

#[test]
fn a_wrong_kernel_is_never_chosen_and_is_reported() {
    const TEST: &str = "a_wrong_kernel_is_never_chosen_and_is_reported";
    let Some(place) = Place::new(TEST) else { return };
    for (ways, wrong, reason) in [
        (&[WRONG, SLOW, DIRECT][..], "wrong", "expected "),
        (&[LAZY, SLOW, DIRECT], "lazy", "result[4992]: expected "),
        (&[IDLE, SLOW, DIRECT], "idle", "result[0]: expected "),
        (&[BROKEN, SLOW, DIRECT], "broken", "does not compile: scale.wgsl: "),
        // Only the reference is right, and it is too far down the list to be a candidate.
        (&[WRONG, LAZY, IDLE, DIRECT], "wrong", "expected "),
    ] {
        let op = Scale { ways, in_place: false };
        let mut executor = place.executor();
        assert_eq!(executor.choose(&op), ("direct", ChosenBy::Tuning), "{ways:?}");
        let notices = place.notices();
        let found = rejected(&notices);
        assert!(found[0].0 == wrong && found[0].1.contains(reason), "{found:?}");
        assert_eq!(found.len(), ways.len() - if ways.len() == 3 { 2 } else { 1 }, "{found:?}");
        assert!(notices.iter().all(|notice| notice.to_string().lines().count() == 1), "{notices:?}");
        let text = notices[0].to_string();
        assert!(
            text.starts_with(&format!("test.scale, {wrong} fails on this device and is left out: ")),
            "{text}"
        );

        // The kernel runs neither in a plan nor after a choice from the file, and it is not reported again.
        assert_eq!(answer(&mut executor, op), vec![2.0; ELEMENTS]);
        assert_eq!(place.executor().choose(&op), ("direct", ChosenBy::Tuning));
        assert_eq!(place.notices(), []);
        // It runs if it is asked for by name.
        if wrong == "wrong" {
            executor.set_preference(Preference::Named("wrong".into()));
            assert_eq!(answer(&mut executor, op), vec![2.001; ELEMENTS]);
        }
    }
}

#[test]
fn a_reference_that_is_wrong_by_the_definition_rejects_only_itself() {
    const TEST: &str = "a_reference_that_is_wrong_by_the_definition_rejects_only_itself";
    let Some(place) = Place::new(TEST) else { return };
    let op = Scale { ways: &[SLOW, FAST, WRONG], in_place: false };
    let mut executor = place.executor();
    assert_eq!(executor.choose(&op), ("fast", ChosenBy::Tuning));
    let found = rejected(&place.notices());
    assert!(found.len() == 1 && found[0].0 == "wrong", "{found:?}");
    assert!(found[0].1.starts_with("by the definition, result[0]: expected "), "{found:?}");
    assert_eq!(answer(&mut executor, op), vec![2.0; ELEMENTS]);
    // The others may be as wrong as the reference: two implementations that agree only with each other are not trusted.
    let op = Scale { ways: &[WRONG, WRONG_TOO], in_place: false };
    executor.choose(&op);
    let found = rejected(&place.notices());
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["wrong_too", "wrong"]);
}

#[test]
fn a_wrong_kernel_stays_out_even_where_there_is_no_winner() {
    const TEST: &str = "a_wrong_kernel_stays_out_even_where_there_is_no_winner";
    let Some(place) = Place::new(TEST) else { return };
    let op = Scale { ways: &[WRONG, SLOW, DIRECT], in_place: false };
    place.executor().choose(&op);
    place.notices();
    place.edit(|json| {
        let record = json["operations"][0].as_object_mut().unwrap();
        record.remove("winner");
        assert_eq!(record["rejected"][0]["implementation"], "wrong");
    });
    // Without time, only the file is used.
    let mut executor = place.executor_within(Duration::ZERO);
    assert_eq!(executor.choose(&op), ("slow", ChosenBy::Rules));
    assert_eq!(answer(&mut executor, op), vec![2.0; ELEMENTS]);
    // With time, the others are compared, and known failures are not reported again.
    assert_eq!(place.executor().choose(&op), ("direct", ChosenBy::Tuning));
    assert_eq!(rejected(&place.notices()), []);
}

#[test]
fn the_fastest_correct_implementation_wins_whatever_the_rules_say() {
    const TEST: &str = "the_fastest_correct_implementation_wins_whatever_the_rules_say";
    let Some(place) = Place::new(TEST) else { return };
    for in_place in [false, true] {
        let op = Scale { ways: &[SLOW, FAST, DIRECT], in_place };
        let mut executor = place.executor();
        assert_ne!(executor.choose(&op).0, "slow");
        // An operand that is updated in place must be restored before each comparison.
        assert_eq!(rejected(&place.notices()), []);
        assert_eq!(answer(&mut executor, op), vec![if in_place { 3.0 } else { 2.0 }; ELEMENTS]);
        let wrong = Scale { ways: &[SLOW, WRONG, DIRECT], in_place };
        assert_eq!(executor.choose(&wrong), ("direct", ChosenBy::Tuning));
        assert_eq!(rejected(&place.notices()).len(), 1);
    }
    // A single implementation leaves no choice, and an executor without tuning measures nothing.
    let mut executor = place.executor();
    assert_eq!(executor.choose(&Scale { ways: &[DIRECT], in_place: false }), ("direct", ChosenBy::Rules));
    let mut by_rules = GpuExecutor::open(&place.adapter).unwrap();
    assert_eq!(
        by_rules.choose(&Scale { ways: &[SLOW, FAST, DIRECT], in_place: false }),
        ("slow", ChosenBy::Rules)
    );
    assert_eq!(place.notices(), []);
}

#[test]
fn findings_are_kept_and_reused_unless_they_belong_to_something_else() {
    const TEST: &str = "findings_are_kept_and_reused_unless_they_belong_to_something_else";
    let Some(place) = Place::new(TEST) else { return };
    let op = Scale { ways: &[SLOW, FAST, DIRECT], in_place: false };
    // Runs `edit` on the file, and returns whether anything was measured after that.
    let measures_after = |edit: &dyn Fn()| {
        edit();
        place.notices();
        assert_eq!(place.executor().choose(&op).1, ChosenBy::Tuning);
        let notices = place.notices();
        assert!(rejected(&notices).is_empty());
        match counts(&notices) {
            Some(counts) => {
                assert_eq!(counts, (1, 1));
                let kept = format!("(cached in {})", place.file().display());
                let text = notices.last().unwrap().to_string();
                assert!(text.starts_with("tuned 1 of 1 operations in ") && text.ends_with(&kept), "{text}");
                true
            }
            None => false,
        }
    };
    assert!(measures_after(&|| {}), "the first time");
    assert!(!measures_after(&|| {}), "the second time");

    let sound = place.json();
    let record = &sound["operations"][0];
    assert_eq!((&record["op"], &sound["wgconv"]), (&"test.scale".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(sound["adapter"], place.adapter.profile().name.as_str());
    assert!(record["winner"]["milliseconds"].as_f64().unwrap() > 0.0);
    assert!(record["winner"]["error"].as_f64().unwrap() < 1e-6);
    let sound_text = fs::read_to_string(place.file()).unwrap();
    let replaced = |text: &str| fs::write(place.file(), text).unwrap();

    assert!(measures_after(&|| replaced("")), "empty");
    assert!(measures_after(&|| replaced(&sound_text[..sound_text.len() / 2])), "truncated");
    assert!(measures_after(&|| replaced("[1, 2]")), "another format");
    assert!(measures_after(&|| fs::write(place.file(), [0xff, 0, 7]).unwrap()), "no text");
    for key in ["wgconv", "adapter", "driver", "backend"] {
        let edit = |json: &mut Value| json[key] = "another".into();
        assert!(measures_after(&|| place.edit(edit)), "another {key}");
        assert!(!measures_after(&|| {}), "after another {key}");
    }
    for (key, value) in [("kernels", "0123"), ("sizes", "Scale of another size"), ("op", "test.other")] {
        let edit = |json: &mut Value| json["operations"][0][key] = value.into();
        replaced(&sound_text);
        assert!(measures_after(&|| place.edit(edit)), "other {key}");
    }
    assert_eq!(place.files().len(), 1, "nothing is left behind: {:?}", place.files());

    // A choice edited by hand, to see that the file decides.
    let choose = |name: &str| {
        place.edit(|json| json["operations"][0]["winner"]["implementation"] = name.into());
        place.executor_within(Duration::ZERO).choose(&op)
    };
    replaced(&sound_text);
    assert_eq!(choose("slow"), ("slow", ChosenBy::Tuning));
    assert_eq!(choose("direct"), ("direct", ChosenBy::Tuning));
    assert_eq!(choose("gone"), ("slow", ChosenBy::Rules));
}

#[test]
fn two_processes_keep_each_others_findings() {
    const TEST: &str = "two_processes_keep_each_others_findings";
    let Some(place) = Place::new(TEST) else { return };
    let (mut first, mut second) = (place.executor(), place.executor());
    first.choose(&Scale { ways: &[SLOW, DIRECT], in_place: false });
    second.choose(&Scale { ways: &[SLOW, DIRECT], in_place: true });
    assert_eq!(place.json()["operations"].as_array().unwrap().len(), 2);
}

#[test]
fn a_folder_that_cannot_be_written_causes_no_failure() {
    const TEST: &str = "a_folder_that_cannot_be_written_causes_no_failure";
    let Some(place) = Place::new(TEST) else { return };
    let file = place.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let notices = place.notices.clone();
    let tuning = Tuning {
        budget: Duration::from_secs(300),
        cache: Some(CacheFolder::new(&file)),
        report: Arc::new(move |notice| notices.lock().unwrap().push(notice.clone())),
    };
    let mut executor = GpuExecutor::open(&place.adapter)
        .unwrap()
        .with_pipeline_cache(CacheFolder::new(&file))
        .with_tuning(tuning);
    assert_eq!(executor.choose(&Scale { ways: &[SLOW, FAST, DIRECT], in_place: false }).1, ChosenBy::Tuning);
    let text = place.notices()[0].to_string();
    assert!(text.contains("(not cached: cannot create "), "{text}");
}

fn lenet() -> (Network, data::DataSplits) {
    let data = data::load("synthetic", &data::LoadOptions::default()).unwrap().head(64);
    (presets::lenet(data.train.image, data.train.classes.len()).unwrap(), data)
}

/// Losses and weights after a few steps.
fn train(executor: GpuExecutor) -> (Vec<f32>, Weights) {
    let (network, data) = lenet();
    let settings = TrainSettings { batch_size: 8, ..TrainSettings::default() };
    let mut trainer = Trainer::new(Box::new(executor), network, &data, settings).unwrap();
    let report = trainer.run_epoch(|_| std::ops::ControlFlow::Continue(())).unwrap();
    (report.losses, trainer.weights().unwrap())
}

#[test]
fn without_time_the_rules_choose_and_nothing_is_reported_or_written() {
    const TEST: &str = "without_time_the_rules_choose_and_nothing_is_reported_or_written";
    let Some(place) = Place::new(TEST) else { return };
    let tuned = train(place.executor_within(Duration::ZERO));
    assert_eq!((place.notices(), place.files()), (Vec::new(), Vec::new()));
    let Some(by_rules) = common::gpu(TEST, ShaderChecks::Off) else { return };
    assert!(tuned == train(by_rules), "the same kernels give the same bits");
}

#[test]
fn a_network_is_tuned_within_its_budget_and_the_same_cache_gives_the_same_bits() {
    const TEST: &str = "a_network_is_tuned_within_its_budget_and_the_same_cache_gives_the_same_bits";
    let Some(place) = Place::new(TEST) else { return };
    let (by_rules, _) = train(GpuExecutor::open(&place.adapter).unwrap());

    // Little time, which the training plan and the evaluation plan share.
    let (losses, _) = train(place.executor_within(Duration::from_millis(700)));
    for (tuned, by_rules) in losses.iter().zip(&by_rules) {
        assert!((tuned - by_rules).abs() <= 1e-3 * by_rules.abs(), "{losses:?}");
    }
    let notices = place.notices();
    assert_eq!(rejected(&notices), []);
    let done = |notice: &TuningNotice| match notice {
        TuningNotice::Done { tuned, operations, .. } => {
            assert!(tuned <= operations && (1..=20).contains(operations));
        }
        _ => panic!("{notice:?}"),
    };
    notices.iter().for_each(done);

    // As much time as it takes. What a busy machine leaves without a winner is tried again, a few times.
    let mut rounds = 0;
    loop {
        train(place.executor());
        let notices = place.notices();
        assert_eq!(rejected(&notices), []);
        if notices.is_empty() {
            break;
        }
        rounds += 1;
        assert!(rounds < 6, "{notices:?}");
    }
    let json = place.json();
    let records = json["operations"].as_array().unwrap();
    let names = records.iter().map(|record| record["op"].as_str().unwrap());
    let measured: HashSet<&str> = names.collect();
    // On a busy machine, a few attempts may end without a winner.
    let winners = records.iter().filter(|record| record["winner"].is_object()).count();
    assert!(4 * winners >= 3 * records.len(), "{winners} of {}", records.len());
    for op in ["conv2d.forward", "conv2d.grad_filters", "conv2d.grad_input_unpool", "dense.forward"] {
        assert!(measured.contains(op), "{op}: {measured:?}");
    }
    let from_cache = || train(place.executor());
    let first = from_cache();
    assert_eq!(place.notices(), [], "everything came from the cache");
    assert!(first == from_cache());
}

#[test]
fn compiled_kernels_are_kept_if_the_driver_supports_that() {
    const TEST: &str = "compiled_kernels_are_kept_if_the_driver_supports_that";
    let Some(place) = Place::new(TEST) else { return };
    let op = Scale { ways: &[DIRECT], in_place: false };
    let run = || {
        let executor = GpuExecutor::open(&place.adapter).unwrap();
        answer(&mut executor.with_pipeline_cache(CacheFolder::new(place.folder.path())), op)
    };
    let expected = vec![2.0; ELEMENTS];
    assert_eq!(run(), expected);
    if !place.adapter.features().contains(&("pipeline cache", true)) {
        assert_eq!(place.files(), Vec::<PathBuf>::new());
        return;
    }
    let sound = fs::read(place.file()).unwrap();
    assert!(sound.starts_with(b"WGPUPLCH"));
    assert_eq!(run(), expected);
    assert_eq!(place.files().len(), 1);
    // Kernels are compiled whatever the file contains.
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&b""[..], &sound[..sound.len() / 2], &flipped, &[0; 4], &[7; 1000]] {
        fs::write(place.file(), damaged).unwrap();
        assert_eq!(run(), expected);
        assert!(fs::read(place.file()).unwrap().starts_with(b"WGPUPLCH"), "{} bytes", damaged.len());
    }
    // A sound file is not rewritten if there is nothing new to keep.
    let modified = || fs::metadata(place.file()).unwrap().modified().unwrap();
    let before = modified();
    drop(
        GpuExecutor::open(&place.adapter).unwrap().with_pipeline_cache(CacheFolder::new(place.folder.path())),
    );
    assert_eq!(modified(), before);
}

#[test]
fn every_operation_has_a_plain_kernel_to_be_checked_against() {
    let portable = DeviceProfile::portable();
    let software = DeviceProfile { kind: DeviceKind::Software, ..portable.clone() };
    let large = DeviceProfile {
        kind: DeviceKind::DiscreteGpu,
        max_workgroup_bytes: 48 << 10,
        max_workgroup_invocations: 1024,
        max_buffer_bytes: 64 << 30,
        max_binding_bytes: (4 << 30) - 4,
        multiprocessors: Some(132),
        ..portable.clone()
    };
    for case in cases::all() {
        for device in [&portable, &software, &large] {
            let names: Vec<&str> =
                case.op.implementations(device).iter().map(|implementation| implementation.name).collect();
            let unique: HashSet<&str> = names.iter().copied().collect();
            assert_eq!(unique.len(), names.len(), "{case}: {names:?}");
            let reference = case.op.reference_implementation(device);
            assert_eq!(Some(&reference.name), names.last(), "{case}: {names:?}");
            assert!(names.len() == 1 || reference.name == "direct", "{case}: {names:?}");
        }
    }
}

#[test]
fn shader_checks_have_findings_of_their_own() {
    const TEST: &str = "shader_checks_have_findings_of_their_own";
    let Some(place) = Place::new(TEST) else { return };
    let op = Scale { ways: &[SLOW, FAST, DIRECT], in_place: false };
    place.executor().choose(&op);
    assert_eq!(counts(&place.notices()), Some((1, 1)));
    let tuning = Tuning {
        budget: Duration::ZERO,
        cache: Some(CacheFolder::new(place.folder.path())),
        ..Tuning::default()
    };
    let checked = GpuExecutor::open(&place.adapter).unwrap().with_checks(ShaderChecks::On);
    assert_eq!(checked.with_tuning(tuning).choose(&op), ("slow", ChosenBy::Rules));
}
