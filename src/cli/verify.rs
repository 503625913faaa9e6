//! `wgconv verify`: every implementation of every operation against its definition.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wgconv::executors::Opened;
use wgconv::gpu::ShaderChecks;
use wgconv::plan::Executor;
use wgconv::verify::cases::{self, Case};
use wgconv::verify::{Data, Status, Verdict, random_cases, verify};
use wgconv::{Error, Result};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, quoted};

/// Check every implementation of every operation against its definition
///
/// Integers must come out exactly, reals within a bound that grows with the summed length. PASSED: the
/// definition's answer. FAILED: another. SKIPPED: not tried, and why. MISTRUSTED: the definition's answer, which is
/// almost all zeros, so that it says little.
#[derive(Args)]
pub struct Verify {
    /// Draw N convolutions, pools and dense layers more than the table of cases holds
    #[arg(long, value_name = "N", default_value_t = 0)]
    random: u32,
    /// The first one's seed; the others follow
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Only what has TEXT in its `operation (case)`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only implementations of this name
    #[arg(long, value_name = "NAME")]
    implementation: Option<String>,
    /// Let kernels check their indices and bound their loops
    #[arg(long)]
    checks: bool,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// A case to run in some implementations.
struct Work {
    // One for each kind of data: a trial keeps its operation.
    cases: [Case; Data::ALL.len()],
    // The seed of a case that is not in the table.
    seed: Option<u64>,
    implementations: Vec<&'static str>,
}

impl Verify {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let checks = if self.checks { ShaderChecks::On } else { ShaderChecks::Off };
        let Opened { mut executor, reason } = self.device.open_with(checks)?;
        let executor = executor.as_mut();
        let work = self.work(executor)?;
        self.output.say(format_args!("device: {reason}"))?;

        let start = Instant::now();
        let bar = progress_bar(work.len());
        let mut counts = Counts::default();
        for Work { cases, seed, implementations } in work {
            for (case, data) in cases.into_iter().zip(Data::ALL) {
                for verdict in verify(case, data, executor, &implementations) {
                    counts.add(&verdict);
                    let command = self.command(&verdict, seed);
                    bar.suspend(|| self.show(&verdict, &command))?;
                }
            }
            // No other case has these sizes, and compiled kernels take memory.
            executor.forget_kernels();
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.summarise(&counts, &executor.device_name(), start.elapsed())?;
        Ok(if counts.total(Status::Failed) == 0 { Outcome::Done } else { Outcome::Failed })
    }

    /// Every case that the options leave, with its seed where it has one: the table first.
    fn cases(&self) -> impl Iterator<Item = (Case, Option<u64>)> {
        let table = cases::all().into_iter().map(|case| (case, None));
        let seeds = (0..self.random).map(|number| self.seed.wrapping_add(number.into()));
        let drawn = seeds.flat_map(|seed| random_cases(seed).into_iter().map(move |case| (case, Some(seed))));
        let is_wanted = |case: &Case| self.only.as_ref().is_none_or(|text| case.to_string().contains(text));
        table.chain(drawn).filter(move |(case, _)| is_wanted(case))
    }

    /// What there is to do.
    fn work(&self, executor: &dyn Executor) -> Result<Vec<Work>> {
        let mut work = Vec::new();
        for ((case, seed), (same, _)) in self.cases().zip(self.cases()) {
            let mut implementations = executor.implementations(case.op.as_ref());
            if let Some(name) = &self.implementation {
                implementations.retain(|implementation| implementation == name);
            }
            if !implementations.is_empty() {
                work.push(Work { cases: [case, same], seed, implementations });
            }
        }
        if work.is_empty() {
            let only = self.only.iter().map(|text| format!("--only {}", quoted(text)));
            let named = self.implementation.iter().map(|name| format!("--implementation {}", quoted(name)));
            let found = only.chain(named).collect::<Vec<_>>().join(" ");
            let expected = "an operation, a case or an implementation of this device, as \
                            `conv2d.forward (1x1)` and direct";
            return Err(Error::invalid("verify", expected, found));
        }
        Ok(work)
    }

    /// The command line that repeats a verdict.
    fn command(&self, verdict: &Verdict, seed: Option<u64>) -> String {
        let Verdict { op, case, implementation, .. } = verdict;
        let mut command = format!("wgconv verify {}", self.device);
        if self.checks {
            command += " --checks";
        }
        if let Some(seed) = seed {
            write!(command, " --random 1 --seed {seed}").expect("writing to a string");
        }
        let only = quoted(&format!("{op} ({case})"));
        command + &format!(" --only {only} --implementation {implementation}")
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

/// How often each operation came to each status, in the order of [`Status::ALL`].
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
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} cases, {eta} left").expect("a template");
    ProgressBar::new(length as u64).with_style(style)
}
