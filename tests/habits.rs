//! How the command line behaves in unusual environments: signals, threads, closed streams, missing folders.

#[path = "common/workplace.rs"]
mod workplace;

use std::fs;

use workplace::{Run, Workplace, files};

/// Commands that would compute.
const COMMANDS: [&str; 6] = [
    "train --device cpu",
    "train --device cpu --threads 16",
    "evaluate run --device cpu",
    "verify --device cpu",
    "bench --device cpu",
    "devices",
];

#[test]
fn a_number_of_threads_that_is_out_of_range_is_refused_wherever_it_comes_from() {
    let place = Workplace::new();
    for number in ["5000", "1025", "-1", "many", "99999999999999999999999"] {
        for command in COMMANDS.into_iter().filter(|command| !command.contains("--threads")) {
            let run = Run::of(place.command(command).env("RAYON_NUM_THREADS", number));
            run.assert_error(
                2,
                &format!("RAYON_NUM_THREADS: expected a number from 1 to 1024, found {number:?}"),
            );
        }
        let run = place.run(&format!("train --threads {number}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    }
    files::idx(&place, "data", 0);
    for (number, threads) in [("3", "3 threads"), ("1", "1 thread "), ("0", "thread"), ("", "thread")] {
        let out = format!("run{number}");
        let mut train = place.command("train --device cpu --data data --model linear --epochs 1 --out");
        let run = Run::of(train.arg(out).env("RAYON_NUM_THREADS", number));
        assert!(run.code == 0 && run.stdout.contains(threads), "{run:?}");
    }
    let train = "train --device cpu --data data --model linear --epochs 1 --threads 2 --out last";
    let run = Run::of(place.command(train).env("RAYON_NUM_THREADS", "5000"));
    assert!(run.code == 0 && run.stdout.contains("2 threads"), "{run:?}");
}

/// A thread cannot start with a stack larger than the address space.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_start_are_a_failure_in_one_line() {
    let place = Workplace::new();
    for command in COMMANDS {
        let run = Run::of(place.command(command).env("RUST_MIN_STACK", "140737488355328"));
        run.assert_error(1, "error: CPU: starting ");
    }
    assert!(place.everything().is_empty());
}

#[test]
fn a_device_without_a_name_is_refused() {
    let place = Workplace::new();
    for name in ["", " "] {
        for command in ["train", "verify", "bench", "evaluate run", "conv case --out out"] {
            let run = Run::of(place.command(command).args(["--device", name]));
            assert!(
                run.code == 2 && run.stderr.contains("'--device <DEVICE>': expected auto, cpu, gpu"),
                "{run:?}"
            );
        }
    }
}

#[test]
fn listing_adapters_without_a_session_prints_no_warning() {
    let place = Workplace::new();
    for session in [None, Some(""), Some("run"), Some("/nonexistent")] {
        for (variable, value) in [("LC_ALL", "C"), ("DRI_PRIME", "1"), ("WAYLAND_DISPLAY", "wayland-7")] {
            let mut command = place.command("devices");
            command.env_remove("XDG_RUNTIME_DIR").env(variable, value);
            let run = Run::of(command.envs(session.map(|folder| ("XDG_RUNTIME_DIR", folder))));
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{session:?} {variable}: {run:?}");
        }
    }
}

#[cfg(unix)]
mod signals {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Starts a training in a shell, after `prefix`, sends the signals once steps are running, and returns the exit
    /// code, the last line of stdout and all of stderr.
    fn train(prefix: &str, ignored: &[&str], heeded: &str) -> (Option<i32>, String, String) {
        let place = Workplace::new();
        let script = format!(
            "{prefix} \"$wgconv\" train --device cpu --model linear --limit 2000 --epochs 1000000 --out run"
        );
        let mut child = place.shell(&script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        let kill = |signal: &str| {
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success(), "{signal}");
        };
        let start = Instant::now();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(stdout.any(|line| line.starts_with("    1  ")));
        for signal in ignored {
            kill(signal);
            // Two more epochs: a run that heeds the signal stops in the first.
            assert!(stdout.nth(1).is_some_and(|line| line.starts_with("    ")), "{signal} was heeded");
        }
        kill(heeded);
        let last = stdout.last().unwrap_or_default();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(start.elapsed() < Duration::from_secs(60));
        (child.wait().unwrap().code(), last, stderr)
    }

    #[test]
    fn signals_that_the_parent_ignores_stay_ignored_and_others_are_heeded() {
        for (prefix, ignored, heeded) in [
            ("exec", &[][..], "-INT"),
            ("exec", &[], "-TERM"),
            ("exec", &[], "-HUP"),
            ("exec nohup", &["-HUP"], "-INT"),
            ("trap '' INT; exec", &["-INT"], "-TERM"),
            ("trap '' INT HUP; exec", &["-INT", "-HUP"], "-TERM"),
            ("trap '' TERM; exec", &["-TERM"], "-HUP"),
        ] {
            let (code, last, stderr) = train(prefix, ignored, heeded);
            assert_eq!(code, Some(130), "{prefix} {heeded}: {stderr}");
            assert!(last.starts_with("stopped at step "), "{prefix} {heeded}: {last}");
            assert!(stderr.contains("Ctrl-C again ends at once") && !stderr.contains("warning"), "{stderr}");
        }
    }
}

#[cfg(unix)]
#[test]
fn missing_surroundings_cause_no_panic() {
    let place = Workplace::new();
    files::doubling_conv(&place, "case");
    for (script, code) in [
        (
            "exec env -u HOME -u XDG_CACHE_HOME -u WGCONV_CACHE \"$wgconv\" conv case --device cpu --out out",
            0,
        ),
        ("HOME= WGCONV_CACHE=/dev/null/x exec \"$wgconv\" conv case --device cpu --out out", 0),
        ("exec env -i \"$wgconv\" conv case --device cpu --out out", 0),
        ("exec \"$wgconv\" summary lenet >&-", 0),
        ("exec \"$wgconv\" summary nothing 2>&-", 2),
        ("exec \"$wgconv\" conv case --device cpu --out out <&- >&- 2>&-", 0),
        ("mkdir gone; cd gone; rmdir ../gone; exec \"$wgconv\" summary lenet", 0),
        ("mkdir gone; cd gone; rmdir ../gone; exec \"$wgconv\" train --device cpu", 1),
        ("mkdir gone; cd gone; rmdir ../gone; exec \"$wgconv\" conv ../case --device cpu --out out", 1),
    ] {
        let run = Run::of(&mut place.shell(script));
        assert_eq!(run.code, code, "{script}: {run:?}");
        assert!(run.stderr.lines().count() <= 1, "{script}: {run:?}");
    }
    fs::remove_file(place.path("out")).unwrap();
}
