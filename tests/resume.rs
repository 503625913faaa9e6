//! Resuming a training gives the same bits as if it had never stopped, whatever stopped it; and fine-tuning.
//!
//! `WGCONV_KILLS=20 cargo test --test resume` kills that many runs on each device at random moments; the default is a
//! few.

mod common;
#[path = "common/workplace.rs"]
mod workplace;

use std::ops::ControlFlow;
use std::sync::Arc;

use wgconv::Error;
use wgconv::data::{self, DataSplits, LoadOptions, Normalisation, Preprocessing};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::Conv2d;
use wgconv::network::Network;
use wgconv::ops::HostBuffer;
use wgconv::plan::{BufferId, Executor, Memory, Pending, Plan, Prepared};
use wgconv::train::{
    Basis, Checkpoint, Evaluation, Recorder, RunConfig, RunFolder, TrainSettings, TrainState, Trainer,
};
use workplace::{Workplace, files};

fn digits() -> DataSplits {
    data::load("synthetic", &LoadOptions::default()).unwrap().head(96)
}

fn network(data: &DataSplits) -> Network {
    let conv = Conv2d::new(4, [5, 5]).stride([2, 2]);
    Network::builder("small", data.train.image)
        .conv2d(conv)
        .relu()
        .dropout(0.25)
        .flatten()
        .dense(10)
        .build()
        .unwrap()
}

fn settings() -> TrainSettings {
    TrainSettings { batch_size: 8, ema: Some(0.9), ..TrainSettings::default() }
}

type Outcome = (Vec<Vec<f32>>, Vec<Option<Evaluation>>, TrainState);

/// Losses, figures and state after a total of `epochs` epochs.
fn train(trainer: &mut Trainer, epochs: usize) -> Outcome {
    let (mut losses, mut tests) = (Vec::new(), Vec::new());
    while trainer.epochs_done() < epochs {
        let report = trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
        losses.push(report.losses);
        tests.push(report.evaluation);
    }
    (losses, tests, trainer.state().unwrap())
}

/// Stops after a few steps of the first epoch, saves, and resumes with another trainer.
fn assert_resumes_exactly(executor: impl Fn() -> Box<dyn Executor>) {
    let data = digits();
    let basis = Basis::new(&network(&data), &settings(), &data);
    let start = || Trainer::new(executor(), network(&data), &data, settings()).unwrap();
    let expected = train(&mut start(), 3);

    let mut stopped = start();
    let report = stopped.run_epoch(|_| ControlFlow::Break(())).unwrap();
    assert!(report.evaluation.is_none() && report.losses.len() < expected.0[0].len(), "stopped too late");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let written = Checkpoint { state: stopped.state().unwrap(), best: None, basis };
    written.save(&path).unwrap();

    let read = Checkpoint::load(&path).unwrap();
    assert_eq!(read, written, "the way to a file and back");
    let mut resumed = start();
    resumed.restore(&read.state).unwrap();
    let (losses, tests, end) = train(&mut resumed, 3);
    let name = resumed.executor().device_name();
    assert_eq!((losses, tests), (expected.0, expected.1), "{name}");
    assert_eq!(end, expected.2, "{name}");

    // The trainer that was stopped can continue, too.
    assert_eq!(train(&mut stopped, 3).2, expected.2, "{name}");
}

#[test]
fn training_resumes_from_the_middle_of_an_epoch_on_the_cpu() {
    assert_resumes_exactly(|| Box::new(CpuExecutor::new()));
}

#[test]
fn training_resumes_from_the_middle_of_an_epoch_on_the_reference() {
    assert_resumes_exactly(|| Box::new(ReferenceExecutor::new()));
}

#[test]
fn training_resumes_from_the_middle_of_an_epoch_on_a_gpu() {
    const TEST: &str = "training_resumes_from_the_middle_of_an_epoch_on_a_gpu";
    if common::gpu(TEST, ShaderChecks::Off).is_some() {
        assert_resumes_exactly(|| {
            Box::new(common::gpu(TEST, ShaderChecks::Off).expect("it was there before"))
        });
    }
}

#[test]
fn the_settings_and_data_of_a_run_are_compared() {
    let data = digits();
    let before = Basis::new(&network(&data), &settings(), &data);
    assert!(before.differences(&before).is_empty());
    let mut other = data.clone();
    other.test.labels[0] = (other.test.labels[0] + 1) % 10;
    let changed = TrainSettings { learning_rate: 0.5, ..settings() };
    let now = Basis::new(&network(&data), &changed, &other);
    assert_eq!(before.differences(&now), ["the test images", "learning_rate 0.02, now 0.5"]);
}

#[test]
fn a_run_that_has_another_state_is_refused_in_one_line() {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.train("--data data --epochs 1 --batch-size 8 --out run");
    let sound = std::fs::read(place.path("run/state.safetensors")).unwrap();
    place.assert_refused("train --resume run --epochs 1 --device cpu", 2, "expected more epochs than the 1");
    place.assert_refused(
        "train --resume run --epochs 2 --device cpu --learning-rate 0.5",
        2,
        "(--force goes on all the same), found other: learning_rate 0.02, now 0.5",
    );
    let run = place.run("train --resume run --epochs 2 --model linear");
    assert!(run.code == 2 && run.stderr.contains("cannot be used with '--model"), "{run:?}");
    place.assert_refused("train --resume nothing --epochs 2", 1, "nothing/config.toml");
    files::idx(&place, "data", 1);
    place.assert_refused(
        "train --resume run --epochs 2 --device cpu",
        2,
        "other: the training images; the test images",
    );
    files::idx(&place, "data", 0);
    for (damage, culprit) in [
        (&sound[..sound.len() / 2], "a safetensors file"),
        (b"", "a safetensors file"),
        (&std::fs::read(place.path("run/last.safetensors")).unwrap()[..], "the state of a training"),
    ] {
        place.write("run/state.safetensors", damage);
        place.assert_refused("train --resume run --epochs 2 --device cpu", 1, culprit);
    }
    place.write("run/state.safetensors", &sound);
    let metrics = place.read("run/metrics.jsonl");
    place.write("run/metrics.jsonl", "");
    place.assert_refused("train --resume run --epochs 2 --device cpu", 1, "lines of 1 epochs");
    place.write("run/metrics.jsonl", metrics);

    let forced = place.train("--resume run --epochs 2 --learning-rate 0.5 --force");
    assert!(forced.stdout.contains("other than when the run was stopped: learning_rate 0.02, now 0.5"));
    assert!(place.read("run/config.toml").contains("learning_rate = 0.5"));
    assert_eq!(place.read("run/metrics.jsonl").lines().count(), 2);
}

#[test]
fn figures_are_added_to_their_file_and_what_is_torn_is_dropped() {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.train("--data data --epochs 2 --batch-size 8 --out run");
    let path = place.path("run/metrics.jsonl");
    let whole = place.read("run/metrics.jsonl");
    let epochs = |text: &str| -> Vec<u64> {
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
        lines.map(|line| line["epoch"].as_u64().unwrap()).collect()
    };
    // Another name of the same file sees every line, since nothing takes the file's place.
    std::fs::hard_link(&path, place.path("same")).unwrap();
    place.train("--resume run --epochs 3");
    assert_eq!(epochs(&place.read("same")), [1, 2, 3]);
    assert!(place.read("same").starts_with(&whole));
    assert_eq!(place.read("same"), place.read("run/metrics.jsonl"));
    let sound = place.read("run/metrics.jsonl");
    let next = r#"{"epoch":4,"train/loss":0.5}"#;
    let torn: [&[u8]; 5] = [b"{\"epoch\":4,\"tra", next.as_bytes(), b"{", b"\0\0\0\0", b"{\"a\":\"\xc3"];
    for (torn, epoch) in torn.into_iter().zip(4..) {
        let before = place.read("run/metrics.jsonl");
        place.write("run/metrics.jsonl", [before.as_bytes(), torn].concat());
        place.train(&format!("--resume run --epochs {epoch}"));
        let text = place.read("run/metrics.jsonl");
        assert_eq!(epochs(&text), (1..=epoch).collect::<Vec<_>>());
        assert!(text.starts_with(&sound) && text.ends_with('\n'));
    }
    // Whole lines of epochs that the state knows nothing of, as a kill before the state leaves one.
    let before = place.read("run/metrics.jsonl");
    place.write("run/metrics.jsonl", format!("{before}{}\n", next.replace('4', "9")));
    place.train("--resume run --epochs 9");
    assert_eq!(epochs(&place.read("run/metrics.jsonl")), (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_run_that_was_killed_after_its_last_epoch_is_done() {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.train("--data data --epochs 1 --batch-size 8 --out run");
    let before = ["state.safetensors", "last.safetensors", "metrics.jsonl", "config.toml"]
        .map(|name| std::fs::read(place.path("run").join(name)).unwrap());
    let run = place.train("--resume run");
    assert_eq!(run.stdout, "epoch 1 of 1 is done already; --epochs trains more\n");
    let after = ["state.safetensors", "last.safetensors", "metrics.jsonl", "config.toml"]
        .map(|name| std::fs::read(place.path("run").join(name)).unwrap());
    assert!(after == before);
}

#[test]
fn fine_tuning_takes_what_fits_and_says_what_does_not() {
    use workplace::tensors;

    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.train("--data data --epochs 1 --batch-size 8 --out first");
    let first = tensors(&place.path("first/best.safetensors"));

    let tuned = place.train(
        "--data data --epochs 1 --batch-size 8 --from first/best.safetensors --reinit dense2.* --freeze conv* --out tuned",
    );
    for said in [
        "conv1.bias, conv1.weight, conv2.bias, conv2.weight, dense1.bias, dense1.weight taken",
        "not taken, and initialised anew: dense2.bias, dense2.weight",
    ] {
        assert!(tuned.stdout.contains(said), "{}", tuned.stdout);
    }
    let last = tensors(&place.path("tuned/last.safetensors"));
    for (name, values) in &first {
        assert_eq!(last[name] == *values, name.starts_with("conv"), "{name}");
    }

    // Another number of classes: the last layer does not fit.
    place.write(
        "other.toml",
        files::model(
            "",
            &["type = \"flatten\"", "name = \"dense2\"; type = \"dense\"; units = 10; bias = false"],
        ),
    );
    place.assert_refused(
        "train --data data --device cpu --model other.toml --from first/best.safetensors --out o",
        1,
        "first/best.safetensors: expected one of the weights dense2.weight, in its shape",
    );
    place.assert_refused(
        "train --data data --device cpu --freeze conv9.* --out o",
        2,
        "freeze: expected a pattern",
    );
    place.assert_refused(
        "train --data data --device cpu --freeze * --out o",
        2,
        "freeze: expected a variable",
    );
    let run = place.run("train --data data --device cpu --reinit a --out o");
    assert!(run.code == 2 && run.stderr.contains("--from"), "{run:?}");
}

#[cfg(unix)]
mod kills {
    use std::path::Path;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};
    use serde_json::Value;

    use super::common;
    use super::workplace::{Workplace, files};

    /// The files of a run without the times in them.
    fn result(place: &Workplace, run: &str) -> (Vec<u8>, Vec<u8>, Vec<Value>) {
        let weights = |name: &str| std::fs::read(place.path(&format!("{run}/{name}.safetensors"))).unwrap();
        let lines = place.read(&format!("{run}/metrics.jsonl"));
        let lines = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            for time in ["images_per_s", "seconds"] {
                line.as_object_mut().unwrap().remove(time);
            }
            line
        });
        (weights("best"), weights("last"), lines.collect())
    }

    fn has_state(run: &Path) -> bool {
        run.join("state.safetensors").exists()
    }

    /// Starts a run, sends it `signal` at a random moment, and resumes it, until it has finished.
    fn assert_survives(device: &str, signal: rustix::process::Signal, times: usize, seed: u64) {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        let start = |run: &str| {
            format!(
                "train {device} --no-tune --data data --epochs 12 --batch-size 8 --learning-rate 0.005 --out {run}"
            )
        };
        let begun = Instant::now();
        assert_eq!(place.run(&start("undisturbed")).code, 0);
        let time = begun.elapsed();
        let expected = result(&place, "undisturbed");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut kills = 0;
        for attempt in 0.. {
            if kills >= times {
                break;
            }
            assert!(attempt < 20 * times + 20, "a run was hardly ever hit");
            let run = format!("run{attempt}");
            let mut command = place.command(&start(&run));
            loop {
                let mut child =
                    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
                std::thread::sleep(time.mul_f64(random.random_range(0.0..1.0)) + Duration::from_millis(1));
                let pid = rustix::process::Pid::from_child(&child);
                let _ = rustix::process::kill_process(pid, signal);
                let status = child.wait().unwrap();
                match status.code() {
                    Some(0) => break,
                    // Ended by the signal or after handling it; any other end is a fault.
                    None | Some(130) => kills += 1,
                    Some(code) => panic!("{run} ends with {code}, seed {seed}"),
                }
                command = match has_state(&place.path(&run)) {
                    true => place.command(&format!("train {device} --no-tune --resume {run}")),
                    // There is nothing to resume yet, and the remains must not prevent a new start.
                    false => {
                        let _ = std::fs::remove_dir_all(place.path(&run));
                        place.command(&start(&run))
                    }
                };
            }
            assert!(result(&place, &run) == expected, "{run} differs, seed {seed}");
        }
    }

    fn kills() -> usize {
        std::env::var("WGCONV_KILLS").ok().map_or(3, |kills| kills.parse().expect("a number of kills"))
    }

    #[test]
    fn a_run_that_is_killed_at_any_moment_resumes_on_the_cpu() {
        assert_survives("--device cpu", rustix::process::Signal::KILL, kills(), 1);
    }

    #[test]
    fn a_run_that_is_interrupted_at_any_moment_resumes_on_the_cpu() {
        assert_survives("--device cpu", rustix::process::Signal::INT, kills(), 2);
    }

    #[test]
    fn a_run_that_is_killed_at_any_moment_resumes_on_a_gpu() {
        let test = "a_run_that_is_killed_at_any_moment_resumes_on_a_gpu";
        if common::gpu(test, wgconv::gpu::ShaderChecks::Off).is_some() {
            assert_survives("--device gpu --allow-software", rustix::process::Signal::KILL, kills(), 3);
        }
    }
}

/// A CPU that fails, as a GPU that is lost does, after some runs of plans.
struct Lost {
    cpu: CpuExecutor,
    runs: usize,
}

impl Lost {
    fn use_it(&self) -> wgconv::Result<()> {
        match self.runs {
            0 => Err(Error::Device {
                device: "a GPU".into(),
                operation: "running a plan".into(),
                cause: "the device was lost".into(),
            }),
            _ => Ok(()),
        }
    }
}

impl Executor for Lost {
    fn device_name(&self) -> String {
        self.cpu.device_name()
    }
    fn max_buffer_bytes(&self) -> u64 {
        self.cpu.max_buffer_bytes()
    }
    fn prepare(&mut self, plan: Arc<Plan>) -> wgconv::Result<Prepared> {
        self.cpu.prepare(plan)
    }
    fn memory(&self, plan: &Plan) -> Memory {
        self.cpu.memory(plan)
    }
    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> wgconv::Result<()> {
        self.use_it().and_then(|()| self.cpu.write(prepared, buffer, data))
    }
    fn run(&mut self, prepared: Prepared, times: usize) -> wgconv::Result<()> {
        self.runs = self.runs.saturating_sub(1);
        self.use_it().and_then(|()| self.cpu.run(prepared, times))
    }
    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> wgconv::Result<Box<dyn Pending>> {
        self.use_it().and_then(|()| self.cpu.read_later(prepared, buffer))
    }
    fn wait(&mut self) -> wgconv::Result<()> {
        self.use_it().and_then(|()| self.cpu.wait())
    }
    fn clear(&mut self) {
        self.cpu.clear();
    }
}

/// Whenever a device is lost, the error says in one line what is saved, and that is enough to go on to the same bits.
#[test]
fn a_lost_device_leaves_the_last_epoch() {
    let data = digits();
    let settings = TrainSettings { epochs: 3, ..settings() };
    let basis = || Basis::new(&network(&data), &settings, &data);
    let trainer = |executor: Box<dyn Executor>| {
        Trainer::new(executor, network(&data), &data, settings.clone()).unwrap()
    };
    let config = RunConfig {
        version: "test".into(),
        data: "synthetic".into(),
        device: "cpu".into(),
        limit: None,
        validation: None,
        labels: None,
        skip_broken: false,
        classes: (0..10).map(|class| class.to_string()).collect(),
        preprocessing: Preprocessing::new(data.train.image, Normalisation::measure(&data.train)),
        training: settings.clone(),
    };
    let mut whole = trainer(Box::new(CpuExecutor::new()));
    let expected = train(&mut whole, 3).2;
    let folder = tempfile::tempdir().unwrap();
    let mut saved = Vec::new();
    for runs in 1.. {
        let path = folder.path().join(format!("run-{runs}"));
        let mut recorder =
            Recorder::new(RunFolder::create(&path, &config, &network(&data)).unwrap(), basis());
        let lost = Lost { cpu: CpuExecutor::new(), runs };
        let Err(error) = trainer(Box::new(lost)).run(&mut [&mut recorder]) else { break };
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        let (run, _, network) = RunFolder::open(&path).unwrap();
        let Ok(checkpoint) = run.load_checkpoint() else {
            assert!(
                text.ends_with("the device was lost; nothing is saved, since no epoch was done"),
                "{text}"
            );
            continue;
        };
        let resume = format!("`wgconv train --resume {}` goes on from there", path.display());
        assert!(text.ends_with(&format!("the device was lost; the last epoch is saved, {resume}")), "{text}");
        saved.push(checkpoint.state.epochs);
        let mut recorder = Recorder::resume(run, basis(), &checkpoint).unwrap();
        let mut resumed =
            Trainer::new(Box::new(CpuExecutor::new()), network, &data, settings.clone()).unwrap();
        resumed.restore(&checkpoint.state).unwrap();
        resumed.run(&mut [&mut recorder]).unwrap();
        assert_eq!(resumed.state().unwrap(), expected, "lost at run {runs}");
    }
    saved.dedup();
    assert_eq!(saved, [1, 2], "it was lost in each epoch");
}
