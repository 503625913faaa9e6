//! What is too large is refused in one line, before memory or time is spent on it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wgconv::bench::{named_apart, suite};
use wgconv::tensor::Tensor;
use wgconv::train::save_tensors;

/// A folder of its own that the binary runs in.
struct Workplace(TempDir);

impl Workplace {
    fn new() -> Self {
        Workplace(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, arguments: &str) -> Run {
        self.run_command(Command::new(env!("CARGO_BIN_EXE_wgconv")).args(arguments.split_whitespace()))
    }

    fn run_command(&self, command: &mut Command) -> Run {
        command.current_dir(&self.0).stdin(Stdio::null()).env("WGCONV_CACHE", "");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// What the binary said and how it ended; no code after a signal.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

mod sizes {
    use super::*;

    /// Two pools and a convolution over the longest image that there can be.
    const LONGEST: &str = r#"
name = "longest"
input = [1, 1, 2147483647]
[[layers]]
type = "max_pool"
kernel_size = 1
[[layers]]
type = "average_pool"
kernel_size = 1
[[layers]]
type = "conv2d"
filters = 1
kernel_size = 1
stride = [1, 2147483647]
dilation = [1, 2147483646]
[[layers]]
type = "flatten"
"#;

    #[test]
    fn the_longest_axes_are_summed_up_at_once() {
        let workplace = Workplace::new();
        workplace.write("longest.toml", LONGEST);
        let run = workplace.run("summary longest.toml");
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains("pool2 (average_pool)  (1, 2147483647, 1)"), "{run:?}");
    }

    #[test]
    fn many_equal_names_are_told_apart() {
        const CASES: usize = 100_000;
        let case = suite("small").unwrap().remove(0).named("same");
        let names: Vec<String> = named_apart(vec![case; CASES]).into_iter().map(|case| case.name).collect();
        assert_eq!((names[0].as_str(), names[1].as_str()), ("same", "same #2"));
        assert_eq!(names[CASES - 1], format!("same #{CASES}"));
    }
}

/// Address space is limited here as a shell does it, which macOS ignores and Windows cannot.
#[cfg(target_os = "linux")]
mod memory {
    use std::sync::Arc;

    use wgconv::cpu::CpuExecutor;
    use wgconv::ops::add::Add;
    use wgconv::plan::{Executor, Plan};
    use wgconv::reference::ReferenceExecutor;

    use super::*;

    /// 64 maps of the size of the image.
    const WIDE: &str = r#"
name = "wide"
[[layers]]
type = "conv2d"
filters = 64
kernel_size = 1
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
units = 10
"#;

    impl Workplace {
        /// Runs the binary in `mebibytes` of address space.
        fn run_in(&self, mebibytes: u64, arguments: &str) -> Run {
            let mut shell = Command::new("sh");
            shell.args(["-c", r#"ulimit -v "$0" && exec "$@""#, &(mebibytes << 10).to_string()]);
            self.run_command(shell.arg(env!("CARGO_BIN_EXE_wgconv")).args(arguments.split_whitespace()))
        }

        /// Asserts that the command ends with 1 and one line on stderr: `start`, what is needed and what is left.
        #[track_caller]
        fn assert_too_large(&self, mebibytes: u64, arguments: &str, start: &str, advice: &str) {
            let run = self.run_in(mebibytes, arguments);
            let whole = run.stderr.lines().count() == 1
                && run.stderr.starts_with(start)
                && run.stderr.contains(" MiB of memory, and ")
                && run.stderr.trim_end().ends_with(&format!(" MiB are left for it; try {advice}"));
            assert!(run.code == Some(1) && whole, "{start}: {run:?}");
        }
    }

    #[test]
    fn training_that_does_not_fit_is_refused_before_it_begins() {
        let workplace = Workplace::new();
        workplace.write("wide.toml", WIDE);
        for device in ["cpu", "reference"] {
            let arguments = format!("train --model wide.toml --device {device} --batch-size 10000 --out run");
            let advice = "a smaller batch or model";
            workplace.assert_too_large(1500, &arguments, "error: training wide needs ", advice);
            assert!(!workplace.path("run").exists());
        }
        let run = workplace.run_in(1500, "train --device cpu --limit 64 --epochs 1 --out run");
        assert_eq!(run.code, Some(0), "{run:?}");
    }

    #[test]
    fn a_convolution_that_does_not_fit_is_refused_before_it_begins() {
        let workplace = Workplace::new();
        let tensors = |shape: [usize; 4]| Tensor::new(shape, vec![1.0; shape.iter().product()]).unwrap();
        let case = [("input".into(), tensors([1, 1, 2, 2])), ("filters".into(), tensors([1, 1, 1, 1]))];
        save_tensors(&workplace.path("case.safetensors"), &case).unwrap();
        workplace.assert_too_large(
            1500,
            "conv case.safetensors --out out.safetensors --device cpu --padding 20000",
            "error: the convolution needs 24417 MiB of memory",
            "fewer images or less padding",
        );
        assert!(!workplace.path("out.safetensors").exists());
        let run = workplace.run_in(1500, "conv case.safetensors --out out.safetensors --device cpu");
        assert_eq!(run.code, Some(0), "{run:?}");
    }

    #[test]
    fn a_benchmark_that_does_not_fit_is_left_out() {
        let workplace = Workplace::new();
        let common = "bench --device cpu --threads 2 --budget 0 --pass forward -k 1 -y 1 -x 1 -H 256 -W 256";
        workplace.assert_too_large(
            1000,
            &format!("{common} -n 64 -c 64"),
            "64x64x256x256 k1 1x1, forward: conv2d.forward needs ",
            "a smaller batch",
        );
        // It can be timed, and the definition wants a multiple.
        let arguments = format!("{common} -n 16 -c 16 --verify");
        let start = "16x16x256x256 k1 1x1, forward: the definition of conv2d.forward needs ";
        workplace.assert_too_large(1000, &arguments, start, "a smaller batch");
    }

    #[test]
    fn a_plan_that_does_not_fit_leaves_the_executor_as_it_was() {
        let mut executor = CpuExecutor::new();
        let add = |elements| Arc::new(Plan::of_op(Box::new(Add { elements })));
        let most = i32::MAX as usize;
        // Nobody wants a machine that has this much to give it.
        if wgconv::host_memory::available().is_some_and(|available| available < 3 * 4 * most as u64) {
            let error = executor.prepare(add(most)).unwrap_err().to_string();
            assert!(error.starts_with("a plan needs 24576 MiB of memory, and "), "{error}");
        }
        assert_eq!(executor.host_bytes(&[&add(1000)]), 3 * 4 * 1000);
        let prepared = executor.prepare(add(1000)).unwrap();
        executor.run(prepared, 1).unwrap();
        assert_eq!(executor.host_bytes(&[&add(1000)]), 4 * 1000);
    }

    #[test]
    fn the_reference_counts_twice_the_bytes() {
        let plan = Plan::of_op(Box::new(Add { elements: 1000 }));
        assert_eq!(CpuExecutor::new().memory(&plan).total(), 3 * 4 * 1000);
        assert_eq!(ReferenceExecutor::new().memory(&plan).total(), 3 * 8 * 1000);
        assert_eq!(CpuExecutor::new().host_bytes(&[&plan, &plan]), (2 + 2) * 4 * 1000);
        assert_eq!(ReferenceExecutor::new().host_bytes(&[&plan]), 3 * 8 * 1000);
    }
}
