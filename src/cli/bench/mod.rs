//! `wgconv bench`: the speed of convolutions on this device, compared with the device's limits and with other
//! programs.

mod compare;
mod convolution;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use wgconv::bench::{
    BenchDevice, Ceilings, ConvCase, Pass, Request, Row, SUITES, Status, named_apart, read_cases, suite,
    summaries,
};
use wgconv::plan::ChosenBy;
use wgconv::report::short_name;
use wgconv::{Error, Result};

use self::compare::compare_files;
use self::convolution::Convolution;
use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, TuningOptions, note};

/// Time convolutions, forward and both gradients, and compare with the device's limits
///
/// Times are medians over many runs after a warm-up, by the GPU's timestamps if it has them, otherwise by the host's
/// clock. The inputs are random and in no cache, as in a network whose other layers ran in between (--warm-cache
/// changes that). The implementation that is timed is the one that would run: the fastest, as measured on this device
/// and kept for the next time, or, with --no-tune, the one that rules choose. The device's own ceilings,
/// multiply-adds and copied bytes per second, are measured first: a share of 100 % means that the lower of them is
/// reached. GFLOP/s counts 2*N*K*P*Q*(C/groups)*R*S for every pass, GB/s each tensor once.
#[derive(Args)]
pub struct Bench {
    /// A built-in list of convolutions [default: small]
    #[arg(long, value_name = "NAME", value_parser = SUITES)]
    suite: Option<String>,
    /// A CSV file of convolutions
    ///
    /// Its columns, by name: batch, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width,
    /// pad_height, pad_width, stride_height, stride_width, and optionally name, dilation_height, dilation_width,
    /// groups.
    #[arg(long, value_name = "FILE.csv")]
    cases: Option<PathBuf>,
    /// Which of the passes to time
    #[arg(long, value_enum, default_value = "all")]
    pass: Passes,
    /// Time only this implementation, for each convolution that has it
    #[arg(long, value_name = "NAME", conflicts_with = "all_implementations")]
    implementation: Option<String>,
    /// Time every implementation, not only the one that the device would choose
    #[arg(long)]
    all_implementations: bool,
    /// Replace the number of images of every convolution
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Minimum time to spend on a row
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3, value_parser = seconds)]
    budget: f64,
    /// Compare every answer with the definition's, up to 3 GFLOP
    #[arg(long)]
    verify: bool,
    /// Let every run read the same inputs, which may then be in a cache
    ///
    /// Without it, runs read copies of the inputs in turn, which together are larger than a last-level cache: 128 MiB
    /// on a CPU, 256 MiB on a GPU, at most 1000 copies. In both cases all runs write the same output.
    #[arg(long)]
    warm_cache: bool,
    /// Compare files of results, from --json or from other programs, instead of timing
    ///
    /// A row is a JSON object with `case` (sizes under the names of --cases), `pass` (forward, grad_filters,
    /// grad_input) and `ms`. Ratios are a file's time divided by the first file's: above 1, the first is faster.
    #[arg(long, num_args = 2.., value_name = "FILE.json")]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
    // Last, since its heading applies to all options that follow.
    #[command(flatten)]
    convolution: Convolution,
}

#[derive(Clone, Copy, ValueEnum)]
enum Passes {
    All,
    Forward,
    #[value(alias = "grad_filters")]
    GradFilters,
    #[value(alias = "grad_input")]
    GradInput,
}

impl Passes {
    fn list(self) -> Vec<Pass> {
        match self {
            Passes::All => Pass::ALL.to_vec(),
            Passes::Forward => vec![Pass::Forward],
            Passes::GradFilters => vec![Pass::GradFilters],
            Passes::GradInput => vec![Pass::GradInput],
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0 to 3600".into()),
    }
}

impl Bench {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let convolution = self.convolution.case()?;
        let sources =
            [self.suite.is_some(), self.cases.is_some(), convolution.is_some(), self.compare.is_some()];
        if sources.into_iter().filter(|&given| given).count() > 1 {
            let expected = "one of --suite, --cases, --compare and one convolution by flags";
            return Err(Error::invalid("bench", expected, "several"));
        }
        if let Some(paths) = &self.compare {
            compare_files(paths, self.output)?;
            return Ok(Outcome::Done);
        }
        let cases = match (convolution, &self.cases) {
            (Some(case), _) => vec![case],
            (None, Some(path)) => read_cases(path)?,
            (None, None) => suite(self.suite.as_deref().unwrap_or("small"))?,
        };
        let cases: Vec<ConvCase> = match self.batch {
            Some(batch) => {
                cases.into_iter().map(|case| case.with_batch_size(batch)).collect::<Result<_>>()?
            }
            None => cases,
        };
        let cases = named_apart(cases);
        let (mut device, reason) = self.device.open_bench(self.tuning)?;
        self.output.say(format_args!("device: {reason}"))?;
        let requests = self.requests(&cases, &mut device)?;
        self.time(&requests, &mut device)
    }

    /// The requests to time, in the order of the cases.
    fn requests<'a>(&self, cases: &'a [ConvCase], device: &mut BenchDevice) -> Result<Vec<Request<'a>>> {
        let budget = Duration::from_secs_f64(self.budget);
        let mut requests = Vec::new();
        let mut known: Vec<&str> = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            for pass in self.pass.list() {
                let names = device.executor().implementations(pass.op(case.geometry).as_ref());
                let (wanted, chosen_by) = match &self.implementation {
                    Some(wanted) => {
                        (names.iter().filter(|name| *name == wanted).copied().collect(), ChosenBy::Flag)
                    }
                    None if self.all_implementations => (names.clone(), ChosenBy::Flag),
                    None => (names[..1].to_vec(), ChosenBy::Rules),
                };
                if wanted.is_empty() {
                    note(format_args!(
                        "{}, {pass}: left out, has only {}",
                        short_name(&case.name),
                        names.join(", ")
                    ));
                }
                known.extend(names.into_iter().filter(|name| !known.contains(name)).collect::<Vec<_>>());
                let warm_cache = self.warm_cache;
                let request = |implementation| Request {
                    number,
                    case,
                    pass,
                    implementation,
                    chosen_by,
                    budget,
                    warm_cache,
                };
                requests.extend(wanted.into_iter().map(request));
            }
        }
        match &self.implementation {
            Some(wanted) if requests.is_empty() => {
                Err(Error::invalid("--implementation", known.join(", "), wanted))
            }
            _ => Ok(requests),
        }
    }

    fn time(&self, requests: &[Request<'_>], device: &mut BenchDevice) -> Result<Outcome> {
        let ceilings = Ceilings::measure(device)?;
        let mut about = device.describe();
        about.insert("program".into(), "wgconv".into());
        about.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        about.insert("commit".into(), option_env!("WGCONV_COMMIT").into());
        let inputs = if self.warm_cache {
            "the same every run"
        } else {
            "copies in turn, so that no cache holds them"
        };
        self.output.say(format_args!(
            "ceilings: {:.1} GFLOP/s in multiply-adds, {:.1} GB/s in copies; by {}",
            ceilings.gflops,
            ceilings.gigabytes,
            device.executor().timed_by()
        ))?;
        self.output.say(format_args!("inputs: {inputs}"))?;
        self.output.say("")?;
        self.output.json(&joined(
            json!({ "ceilings": { "gflops": ceilings.gflops, "gigabytes_per_s": ceilings.gigabytes } }),
            &about,
        ))?;
        let names = requests.iter().map(|request| short_name(&request.case.name).chars().count());
        let width = names.max().unwrap_or(0).max(4);
        let mut outcome = Outcome::Done;
        let mut rows = Vec::new();
        self.output.say(heading(width))?;
        for request in requests {
            let request = request.for_device(device);
            let row = match request.time(device, &ceilings) {
                Ok(row) => row,
                // The convolution may be too large for this device; the others are still timed.
                Err(error @ (Error::Device { .. } | Error::Memory { .. })) => {
                    note(format_args!("{}, {}: {error}", short_name(&request.case.name), request.pass));
                    outcome = Outcome::Failed;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let status = match self.verify.then(|| request.verify(device)).transpose() {
                Err(error @ Error::Memory { .. }) => {
                    note(format_args!("{}, {}: {error}", short_name(&request.case.name), request.pass));
                    outcome = Outcome::Failed;
                    Some(Status::Skipped)
                }
                status => status?,
            };
            self.show(&row, status.as_ref(), width, &about)?;
            if let Some(Status::Failed(mismatch)) = &status {
                note(format_args!("{}, {}: {mismatch}", short_name(&row.case.name), row.implementation));
                outcome = Outcome::Failed;
            }
            rows.push(row);
        }
        self.summarise(&rows)?;
        Ok(outcome)
    }

    fn show(
        &self,
        row: &Row,
        status: Option<&Status>,
        width: usize,
        about: &Map<String, Value>,
    ) -> Result<()> {
        let status_name = status.map_or("", Status::name);
        self.output.say(format_args!("{} {status_name}", line(row, width)).to_string().trim_end())?;
        let mut object = row.to_json();
        if let Some(status) = status {
            object.insert("status".into(), status_name.into());
            match status {
                Status::Passed(difference) => drop(object.insert("max_error".into(), (*difference).into())),
                Status::Failed(mismatch) => drop(object.insert("mismatch".into(), mismatch.as_str().into())),
                Status::Skipped => {}
            }
        }
        self.output.json(&joined(object.into(), about))
    }

    fn summarise(&self, rows: &[Row]) -> Result<()> {
        let fastest = if self.all_implementations { ", the fastest implementation of each" } else { "" };
        self.output.say("")?;
        self.output.say(format_args!("geometric means{fastest}"))?;
        for summary in summaries(rows) {
            self.output.say(format_args!(
                "{:<12} {:>9.1} GFLOP/s {:>6.1} % of the roofline {:>11.3} ms in all, cases: {}",
                summary.pass,
                summary.gflops,
                100.0 * summary.share,
                summary.milliseconds,
                summary.cases
            ))?;
            self.output.json(&json!({
                "summary": summary.pass.name(),
                "convolutions": summary.cases,
                "geometric_mean_gflops": summary.gflops,
                "geometric_mean_share_of_roofline": summary.share,
                "total_ms": summary.milliseconds,
            }))?;
        }
        Ok(())
    }
}

/// An object with the entries of both arguments.
fn joined(object: Value, more: &Map<String, Value>) -> Value {
    let Value::Object(mut object) = object else { unreachable!("rows are objects") };
    object.extend(more.clone());
    object.into()
}

fn heading(width: usize) -> String {
    format!(
        "{:<width$} {:>4} {:>5} {:>4} {:>4} {:>5} {:>2} {:>2} {:<12} {:<14} {:>9} {:>17} {:>9} {:>8} {:>7} {:<7}",
        "name",
        "n",
        "c",
        "h",
        "w",
        "k",
        "y",
        "x",
        "pass",
        "implementation",
        "ms",
        "quartiles",
        "GFLOP/s",
        "GB/s",
        "share",
        "roof"
    )
}

fn line(row: &Row, width: usize) -> String {
    let sizes = row.case.sizes;
    let [first, third] = row.timing.quartiles;
    format!(
        "{:<width$} {:>4} {:>5} {:>4} {:>4} {:>5} {:>2} {:>2} {:<12} {:<14} {:>9.3} {:>17} {:>9.1} {:>8.2} {:>5.1} % {:<7}",
        short_name(&row.case.name),
        sizes.batch_size,
        sizes.in_channels,
        sizes.in_height,
        sizes.in_width,
        sizes.out_channels,
        sizes.kernel_height,
        sizes.kernel_width,
        row.pass,
        row.implementation,
        row.timing.median,
        format!("{first:.3}..{third:.3}"),
        row.gflops,
        row.gigabytes,
        100.0 * row.share,
        row.roof.name()
    )
}
