//! `wgconv verify`: every implementation of every operation against its definition.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wgconv::executors::Opened;
use wgconv::files::quoted;
use wgconv::gpu::ShaderChecks;
use wgconv::ops::Op;
use wgconv::ops::halves::InHalves;
use wgconv::plan::Workbench;
use wgconv::verify::cases::{self, Case};
use wgconv::verify::{Data, Exhaustive, Status, Verdict, random_cases, verify};
use wgconv::{Error, Result};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions};

/// Check every implementation of every operation against its definition
///
/// Integers must match exactly, reals within a bound that grows with the number of summed terms. PASSED: the answer
/// matches the definition's. FAILED: it does not. SKIPPED: not tried, with the reason. MISTRUSTED: it matches, but is
/// almost all zeros, so that this proves little.
#[derive(Args)]
pub struct Verify {
    /// Add N random convolutions, pools and dense layers to the table of cases
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    random: u32,
    /// Seed of the first random case; the others follow
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Add every small geometry: what a window can do along an axis, and degenerate axes in pairs; on integers only
    #[arg(long)]
    exhaustive: bool,
    /// Run only N of the small geometries, drawn from --seed
    #[arg(long, value_name = "N", requires = "exhaustive")]
    sample: Option<usize>,
    /// Run only the small geometry of this number
    #[arg(long, value_name = "NUMBER", requires = "exhaustive", conflicts_with = "sample")]
    geometry: Option<usize>,
    /// Run only cases whose `operation (case)` contains TEXT
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Run only implementations of this name
    #[arg(long, value_name = "NAME")]
    implementation: Option<String>,
    /// Store tensors as halves (f16), as in mixed precision, where operations can
    #[arg(long)]
    halves: bool,
    /// Let kernels check their indices and bound their loops
    #[arg(long)]
    checks: bool,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// The origin of a case.
#[derive(Clone, Copy)]
enum Origin {
    Table,
    Seed(u64),
    Geometry(usize),
}

impl Origin {
    /// The kinds of data that its cases are run on.
    fn data(self) -> &'static [Data] {
        match self {
            Origin::Geometry(_) => &[Data::Integers],
            _ => &Data::ALL,
        }
    }

    /// The options that reproduce its cases.
    fn options(self) -> String {
        match self {
            Origin::Table => String::new(),
            Origin::Seed(seed) => format!(" --random 1 --seed {seed}"),
            Origin::Geometry(number) => format!(" --exhaustive --geometry {number}"),
        }
    }
}

/// Cases whose kernels are compiled together, on all cores.
const COMPILED_TOGETHER: usize = 32;

/// Small geometries, and the numbers of those to run.
struct Geometries {
    sweep: Exhaustive,
    numbers: Vec<usize>,
}

impl Verify {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let checks = if self.checks { ShaderChecks::On } else { ShaderChecks::Off };
        let Opened { mut executor, reason } = self.device.open_with(checks)?;
        let executor = executor.as_mut();
        if self.halves && !executor.takes_halves() {
            let expected = "a device that stores halves (f16)";
            return Err(Error::invalid("--halves", expected, executor.device_name()));
        }
        let geometries = self.geometries()?;
        let origins = || {
            let seeds = (0..self.random).map(|number| Origin::Seed(self.seed.wrapping_add(number.into())));
            let numbers = geometries.numbers.iter().map(|&number| Origin::Geometry(number));
            std::iter::once(Origin::Table).chain(seeds).chain(numbers)
        };
        let is_work = |case: &Case| !self.implementations(case, executor).is_empty();
        if !origins().any(|origin| self.cases(origin, &geometries.sweep).any(|case| is_work(&case))) {
            return Err(self.nothing_to_do());
        }
        self.output.say(format_args!("device: {reason}"))?;

        let start = Instant::now();
        // The cases of the table, and the random ones.
        let table = self.cases(Origin::Table, &geometries.sweep).count();
        let bar = progress_bar(table + origins().count() - 1);
        let mut counts = Counts::default();
        for origin in origins() {
            // A trial keeps its operation: each kind of data has its own cases.
            let mut cases: Vec<_> =
                origin.data().iter().map(|&data| (data, self.cases(origin, &geometries.sweep))).collect();
            let next = |_| {
                let next = cases.iter_mut().map(|(data, cases)| Some((*data, cases.next()?)));
                next.collect::<Option<Vec<(Data, Case)>>>()
            };
            let mut trials = std::iter::repeat(()).map_while(next).peekable();
            while trials.peek().is_some() {
                let batch: Vec<(Data, Case)> = trials.by_ref().take(COMPILED_TOGETHER).flatten().collect();
                let names: Vec<Vec<&'static str>> =
                    batch.iter().map(|(_, case)| self.implementations(case, executor)).collect();
                let wanted: Vec<(&dyn Op, &[&'static str])> = batch
                    .iter()
                    .zip(&names)
                    .map(|((_, case), names)| (case.op.as_ref(), &names[..]))
                    .collect();
                executor.compile_ahead(&wanted);
                let done = batch.len() / origin.data().len();
                for ((data, case), names) in batch.into_iter().zip(&names) {
                    for verdict in verify(case, data, executor, names) {
                        counts.add(&verdict);
                        let command = self.command(&verdict, origin);
                        bar.suspend(|| self.show(&verdict, &command))?;
                    }
                }
                // Few other cases have these sizes, and compiled kernels take memory.
                executor.forget_kernels();
                bar.inc(if let Origin::Table = origin { done as u64 } else { 0 });
            }
            bar.inc(u64::from(!matches!(origin, Origin::Table)));
        }
        bar.finish_and_clear();
        self.summarise(&counts, &executor.device_name(), start.elapsed())?;
        Ok(if counts.total(Status::Failed) == 0 { Outcome::Done } else { Outcome::Failed })
    }

    /// The small geometries that the options ask for.
    fn geometries(&self) -> Result<Geometries> {
        let sweep = Exhaustive::new();
        let numbers = match (self.exhaustive, self.sample, self.geometry) {
            (false, ..) => Vec::new(),
            (true, Some(count), _) => sweep.sample(count, self.seed),
            (true, None, Some(number)) if number >= sweep.len() => {
                return Err(Error::invalid("--geometry", format!("a number below {}", sweep.len()), number));
            }
            (true, None, Some(number)) => vec![number],
            (true, None, None) => (0..sweep.len()).collect(),
        };
        Ok(Geometries { sweep, numbers })
    }

    /// The cases of one origin that the options select.
    fn cases(&self, origin: Origin, sweep: &Exhaustive) -> impl Iterator<Item = Case> {
        let cases = match origin {
            Origin::Table => cases::all(),
            Origin::Seed(seed) => random_cases(seed),
            Origin::Geometry(number) => sweep.cases(number),
        };
        let is_wanted = |case: &Case| self.only.as_ref().is_none_or(|text| case.to_string().contains(text));
        let halves = self.halves;
        cases.into_iter().filter(is_wanted).map(move |case| match halves {
            true => Case { op: InHalves::wrap_all(case.op), ..case },
            false => case,
        })
    }

    /// The implementations of a case that the options select.
    fn implementations(&self, case: &Case, executor: &dyn Workbench) -> Vec<&'static str> {
        let mut implementations = executor.implementations(case.op.as_ref());
        if let Some(name) = &self.implementation {
            implementations.retain(|implementation| implementation == name);
        }
        implementations
    }

    fn nothing_to_do(&self) -> Error {
        let only = self.only.iter().map(|text| format!("--only {}", quoted(text)));
        let named = self.implementation.iter().map(|name| format!("--implementation {}", quoted(name)));
        let found = only.chain(named).collect::<Vec<_>>().join(" ");
        let expected =
            "an operation, a case or an implementation of this device, as `conv2d.forward (1x1)` and direct";
        Error::invalid("verify", expected, found)
    }

    /// The command line that repeats a verdict.
    fn command(&self, verdict: &Verdict, origin: Origin) -> String {
        let Verdict { op, case, implementation, .. } = verdict;
        let halves = if self.halves { " --halves" } else { "" };
        let checks = if self.checks { " --checks" } else { "" };
        let only = quoted(format!("{op} ({case})"));
        format!(
            "wgconv verify {}{halves}{checks}{} --only {only} --implementation {implementation}",
            self.device,
            origin.options()
        )
    }

    fn show(&self, verdict: &Verdict, command: &str) -> Result<()> {
        if matches!(verdict.status, Status::Failed | Status::Mistrusted) {
            self.output.say(verdict)?;
            self.output.say(format_args!("  {command}"))?;
        }
        let mut object = json!(verdict);
        object["command"] = command.into();
        self.output.json(&object)
    }

    fn summarise(&self, counts: &Counts, device: &str, time: Duration) -> Result<()> {
        self.output.say_table(&counts.table())?;
        self.output.say("")?;
        self.output.say(format_args!("{:.1} s on {device}", time.as_secs_f64()))?;
        let mut totals = json!({ "device": device, "seconds": time.as_secs_f64() });
        for status in Status::ALL {
            totals[status.to_string()] = counts.total(status).into();
        }
        self.output.json(&totals)
    }
}

/// Number of results of each status for each operation, in the order of [`Status::ALL`].
#[derive(Default)]
struct Counts(BTreeMap<&'static str, [usize; Status::ALL.len()]>);

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        self.0.entry(verdict.op).or_default()[verdict.status as usize] += 1;
    }

    fn total(&self, status: Status) -> usize {
        self.0.values().map(|counts| counts[status as usize]).sum()
    }

    fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, cells: [String; Status::ALL.len()]| {
            write!(table, "\n{name:<24}").expect("writing to a string");
            for cell in cells {
                write!(table, "  {cell:>10}").expect("writing to a string");
            }
        };
        row("operation", Status::ALL.map(|status| status.to_string()));
        for (op, counts) in &self.0 {
            row(op, counts.map(|count| count.to_string()));
        }
        row("total", Status::ALL.map(|status| self.total(status).to_string()));
        table
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}, {eta} left").expect("a template");
    ProgressBar::new(length as u64).with_style(style)
}
