//! What is too large is refused in one line, before memory or time is spent on it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wgconv::bench::{named_apart, suite};

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
