//! Whatever a file contains, a reader returns an answer or an error: it does not panic, hang, or take more memory than
//! the size of the file justifies. README.md beside this file says how to run it longer.

#[path = "../common/mod.rs"]
mod common;
mod mutate;
mod seeds;
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use mutate::{Files, mutated};
use targets::{Outcome, Target};

/// Counts the allocated bytes, and their maximum.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls are passed on to the system's allocator; the counters do not affect them.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as guaranteed by this function's caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as guaranteed by this function's caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No input may take longer, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(20);

/// The largest number of inputs of a target that are kept for further damage.
const MOST_INPUTS: usize = 2000;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() {
        default
    } else {
        text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is no number"))
    }
}

/// Lets one test run at a time, since allocations are counted for all of them together.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the files of a folder.
fn lay_out(folder: &Path, files: &Files) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("a path that can be removed");
    }
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a path below the folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
}

/// The outcome of an input: the reader's answer, or the reason why it is a finding.
fn try_input(target: &mut Target, folder: &Path, files: &Files) -> Result<Outcome, String> {
    lay_out(folder, files);
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(folder))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        format!("panicked: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
    })?;
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    if start.elapsed() > LONGEST {
        return Err(format!("took {:?}", start.elapsed()));
    }
    if most > target.most_bytes {
        return Err(format!("took {most} bytes, expected at most {}", target.most_bytes));
    }
    match &outcome {
        Outcome::Refused(message) if message.is_empty() => Err("an error without a word".into()),
        Outcome::Wrong(finding) => Err(finding.clone()),
        _ => Ok(outcome),
    }
}

/// The kind of an outcome: its message without digits, which depend on the input.
fn kind(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Read => "read".into(),
        Outcome::Refused(message) | Outcome::Wrong(message) => {
            message.chars().filter(|c| c.is_alphabetic()).take(200).collect()
        }
    }
}

/// Writes a finding to a folder that the next run of the tests does not remove.
fn keep(target: &str, files: &Files) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("findings");
    let free = (1..).map(|number| folder.join(format!("{target}-{number}"))).find(|path| !path.exists());
    let path = free.expect("a free number");
    fs::create_dir_all(&path).expect("a folder");
    lay_out(&path, files);
    path
}

/// Damages valid inputs for a while; inputs that are refused in a new way are damaged further.
fn fuzz(mut target: Target) {
    let _turn = turn();
    let time = Duration::from_millis(1000 * number("WGCONV_FUZZ_SECONDS", 2));
    let seed = number("WGCONV_FUZZ_SEED", 0);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let place = tempfile::tempdir().expect("a folder");
    let mut inputs = target.seeds.clone();
    let mut seen = HashSet::new();
    for files in &target.seeds.clone() {
        let outcome = try_input(&mut target, place.path(), files);
        assert!(matches!(outcome, Ok(Outcome::Read)), "{}: a seed came to {outcome:?}", target.name);
    }
    let (start, mut tries, mut read) = (Instant::now(), 0u64, 0u64);
    while start.elapsed() < time {
        // Valid files get furthest, and damaged ones reach other paths.
        let from = if rng.random() { &target.seeds } else { &inputs };
        let [files, other] = [from, &inputs].map(|from| from.choose(&mut rng).expect("an input"));
        let input = mutated(files, other, &mut rng);
        match try_input(&mut target, place.path(), &input) {
            Ok(outcome) => {
                tries += 1;
                read += u64::from(outcome == Outcome::Read);
                let is_news =
                    seen.insert(kind(&outcome)) || outcome == Outcome::Read && rng.random_bool(0.01);
                if is_news && inputs.len() < MOST_INPUTS {
                    inputs.push(input);
                }
            }
            Err(finding) => panic!(
                "{}, seed {seed}: {finding}; the input is kept in {}",
                target.name,
                keep(target.name, &input).display()
            ),
        }
    }
    println!("{}: {tries} inputs, {read} read, {} kinds of refusals", target.name, seen.len());
}

#[test]
fn idx_files() {
    fuzz(targets::idx());
}

#[test]
fn cifar_files() {
    fuzz(targets::cifar());
}

#[test]
fn image_folders() {
    fuzz(targets::pictures());
}

#[test]
fn numpy_arrays() {
    fuzz(targets::numpy());
}

#[test]
fn labels() {
    fuzz(targets::labels());
}

#[test]
fn decoded_pictures() {
    fuzz(targets::decoded());
}

#[test]
fn model_files() {
    fuzz(targets::models());
}

#[test]
fn run_folders() {
    fuzz(targets::runs());
}

#[test]
fn weights() {
    fuzz(targets::weights());
}

#[test]
fn conv_cases() {
    fuzz(targets::conv());
}

#[test]
fn case_lists() {
    fuzz(targets::cases());
}

#[test]
fn comparisons() {
    fuzz(targets::comparisons());
}

#[test]
fn tuning_caches() {
    if let Some(target) = targets::tuning_caches() {
        fuzz(target);
    }
}

#[test]
fn pipeline_caches() {
    if let Some(target) = targets::pipeline_caches() {
        fuzz(target);
    }
}

/// A negative control: the fuzzer must notice a panic, a greedy reader and a useless message.
#[test]
fn findings_are_found() {
    let _turn = turn();
    let planted = |run: fn(&Path) -> Outcome| Target {
        name: "planted",
        seeds: vec![seeds::file("a", "valid")],
        most_bytes: 1 << 20,
        run: Box::new(run),
    };
    let place = tempfile::tempdir().expect("a folder");
    let try_planted = |run| {
        try_input(&mut planted(run), place.path(), &seeds::file("a", "x")).map(|outcome| kind(&outcome))
    };
    assert_eq!(try_planted(|_| Outcome::Read), Ok("read".into()));
    let panicked = try_planted(|_| panic!("out of {}", "range")).unwrap_err();
    assert_eq!(panicked, "panicked: out of range");
    let greedy = try_planted(|_| {
        std::hint::black_box(vec![1u8; 2 << 20]);
        Outcome::Read
    });
    assert!(greedy.unwrap_err().starts_with("took "));
    assert!(try_planted(|_| Outcome::Refused(String::new())).is_err());
    assert!(try_planted(|_| Outcome::Wrong("two lines".into())).is_err());
}
