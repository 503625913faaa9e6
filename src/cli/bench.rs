//! `wgconv bench`: how fast this device convolves, against what it could do and against other programs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use wgconv::bench::{
    BenchDevice, Ceilings, ConvCase, ConvSizes, Pass, Request, Row, SUITES, Status, compare, read_cases,
    suite, summaries,
};
use wgconv::{Error, Result};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, note};

/// Time convolutions, forward and both gradients, and compare with the device's limits
///
/// Times are medians by the host's clock over many runs, on random inputs, after a warm-up. The device's own
/// ceilings, multiply-adds and copied bytes a second, are measured first: a share of 100 % means that the lower of
/// them is reached. GFLOP/s counts 2*N*K*P*Q*(C/groups)*R*S for every pass, GB/s each tensor once.
#[derive(Args)]
pub struct Bench {
    /// A built-in list of convolutions [default: small]
    #[arg(long, value_name = "NAME", value_parser = SUITES)]
    suite: Option<String>,
    /// A CSV file of convolutions
    ///
    /// Its columns, by name: batch, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width,
    /// pad_height, pad_width, stride_height, stride_width, and at will name, dilation_height, dilation_width, groups.
    #[arg(long, value_name = "FILE.csv")]
    cases: Option<PathBuf>,
    /// Which of the passes to time
    #[arg(long, value_enum, default_value = "all")]
    pass: Passes,
    /// Time this implementation alone, where a convolution has it
    #[arg(long, value_name = "NAME", conflicts_with = "all_implementations")]
    implementation: Option<String>,
    /// Time every implementation, not only the one that the device would choose
    #[arg(long)]
    all_implementations: bool,
    /// Replace the number of images of every convolution
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Time to spend on a row, at least
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3, value_parser = seconds)]
    budget: f64,
    /// Compare every answer with the definition's, up to 2 GFLOP
    #[arg(long)]
    verify: bool,
    /// Compare two files of results, from --json or from another program, instead of timing
    ///
    /// A row is a JSON object with `case` (sizes under the names of --cases), `pass` (forward, grad_filters,
    /// grad_input) and `ms`. The ratio is B's time by A's: above 1, A is faster.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    output: OutputOptions,
    // Last, since its heading holds for all that follows.
    #[command(flatten)]
    convolution: Convolution,
}

/// One convolution; the short names are MIOpenDriver's.
#[derive(Args)]
#[command(next_help_heading = "One convolution")]
struct Convolution {
    /// N: images
    #[arg(short = 'n', long, value_name = "N")]
    batch_size: Option<usize>,
    /// C: channels of the input
    #[arg(short = 'c', long, value_name = "C")]
    in_channels: Option<usize>,
    /// H: rows of the input
    #[arg(short = 'H', long, value_name = "H")]
    in_height: Option<usize>,
    /// W: columns of the input
    #[arg(short = 'W', long, value_name = "W")]
    in_width: Option<usize>,
    /// K: channels of the output
    #[arg(short = 'k', long, value_name = "K")]
    out_channels: Option<usize>,
    /// R: rows of a filter
    #[arg(short = 'y', long, value_name = "R")]
    kernel_height: Option<usize>,
    /// S: columns of a filter
    #[arg(short = 'x', long, value_name = "S")]
    kernel_width: Option<usize>,
    /// Rows of zeros above, and below [default: 0]
    #[arg(short = 'p', long, value_name = "ROWS")]
    padding_height: Option<usize>,
    /// Columns of zeros on the left, and on the right [default: 0]
    #[arg(short = 'q', long, value_name = "COLUMNS")]
    padding_width: Option<usize>,
    /// Rows from one window to the next [default: 1]
    #[arg(short = 'u', long, value_name = "ROWS")]
    stride_height: Option<usize>,
    /// Columns from one window to the next [default: 1]
    #[arg(short = 'v', long, value_name = "COLUMNS")]
    stride_width: Option<usize>,
    /// Rows from one tap to the next; 1 means none between [default: 1]
    #[arg(short = 'l', long, value_name = "ROWS")]
    dilation_height: Option<usize>,
    /// Columns from one tap to the next; 1 means none between [default: 1]
    #[arg(short = 'j', long, value_name = "COLUMNS")]
    dilation_width: Option<usize>,
    /// Parts of the channels that do not see each other [default: 1]
    #[arg(short = 'g', long, value_name = "GROUPS")]
    groups: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Passes {
    All,
    Forward,
    GradFilters,
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

impl Convolution {
    /// The convolution that the flags describe; none when there are no flags.
    fn case(&self) -> Result<Option<ConvCase>> {
        let required = [
            ("--batch-size", self.batch_size),
            ("--in-channels", self.in_channels),
            ("--in-height", self.in_height),
            ("--in-width", self.in_width),
            ("--out-channels", self.out_channels),
            ("--kernel-height", self.kernel_height),
            ("--kernel-width", self.kernel_width),
        ];
        let optional = [
            self.padding_height,
            self.padding_width,
            self.stride_height,
            self.stride_width,
            self.dilation_height,
            self.dilation_width,
            self.groups,
        ];
        let mut given = required.iter().map(|(_, size)| size).chain(&optional);
        if given.all(Option::is_none) {
            return Ok(None);
        }
        let missing: Vec<&str> =
            required.iter().filter(|(_, size)| size.is_none()).map(|&(name, _)| name).collect();
        if !missing.is_empty() {
            let expected = "all sizes of the input and the filters";
            return Err(Error::invalid("one convolution", expected, format!("no {}", missing.join(", "))));
        }
        let [batch_size, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width] =
            required.map(|(_, size)| size.expect("none is missing"));
        let sizes = ConvSizes {
            batch_size,
            in_channels,
            in_height,
            in_width,
            out_channels,
            kernel_height,
            kernel_width,
            padding_height: self.padding_height.unwrap_or(0),
            padding_width: self.padding_width.unwrap_or(0),
            stride_height: self.stride_height.unwrap_or(1),
            stride_width: self.stride_width.unwrap_or(1),
            dilation_height: self.dilation_height.unwrap_or(1),
            dilation_width: self.dilation_width.unwrap_or(1),
            groups: self.groups.unwrap_or(1),
        };
        ConvCase::new(sizes).map(Some)
    }
}

impl Bench {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads();
        let convolution = self.convolution.case()?;
        let sources =
            [self.suite.is_some(), self.cases.is_some(), convolution.is_some(), self.compare.is_some()];
        if sources.into_iter().filter(|&given| given).count() > 1 {
            let expected = "one of --suite, --cases, --compare and one convolution by flags";
            return Err(Error::invalid("bench", expected, "several"));
        }
        if let Some([first, second]) = self.compare.as_deref() {
            return self.compare_files(first, second);
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
        let (mut device, reason) = self.device.open_bench()?;
        self.output.say(format_args!("device: {reason}"))?;
        let requests = self.requests(&cases, &mut device)?;
        self.time(&requests, &mut device)
    }

    /// What to time, in the order of the cases.
    fn requests<'a>(&self, cases: &'a [ConvCase], device: &mut BenchDevice) -> Result<Vec<Request<'a>>> {
        let budget = Duration::from_secs_f64(self.budget);
        let mut requests = Vec::new();
        let mut known: Vec<&str> = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            for pass in self.pass.list() {
                let names = device.executor().implementations(pass.op(case.geometry).as_ref());
                let wanted = match &self.implementation {
                    Some(wanted) => names.iter().filter(|name| *name == wanted).copied().collect(),
                    None if self.all_implementations => names.clone(),
                    None => names[..1].to_vec(),
                };
                if wanted.is_empty() {
                    note(format_args!("{}, {pass}: left out, has only {}", case.name, names.join(", ")));
                }
                known.extend(names.into_iter().filter(|name| !known.contains(name)).collect::<Vec<_>>());
                let request = |implementation| Request { number, case, pass, implementation, budget };
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
        about.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        self.output.say(format_args!(
            "ceilings: {:.1} GFLOP/s in multiply-adds, {:.1} GB/s in copies\n",
            ceilings.gflops, ceilings.gigabytes
        ))?;
        self.output.json(&joined(
            json!({ "ceilings": { "gflops": ceilings.gflops, "gigabytes_per_s": ceilings.gigabytes } }),
            &about,
        ))?;
        let width =
            requests.iter().map(|request| request.case.name.chars().count()).max().unwrap_or(0).max(4);
        let mut outcome = Outcome::Done;
        let mut rows = Vec::new();
        self.output.say(format_args!("{}", heading(width)))?;
        for request in requests {
            let row = match request.time(device, &ceilings) {
                Ok(row) => row,
                // Too large for this device, for instance: the others are still wanted.
                Err(error @ Error::Device { .. }) => {
                    note(format_args!("{}, {}: {error}", request.case.name, request.pass));
                    outcome = Outcome::Failed;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let status = if self.verify { Some(request.verify(device)?) } else { None };
            self.show(&row, status.as_ref(), width, &about)?;
            if let Some(Status::Failed(mismatch)) = &status {
                note(format_args!("{}, {}: {mismatch}", row.case.name, row.implementation));
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
            if let Status::Passed(difference) = status {
                object.insert("max_error".into(), (*difference).into());
            }
        }
        self.output.json(&joined(object.into(), about))
    }

    fn summarise(&self, rows: &[Row]) -> Result<()> {
        let fastest = if self.all_implementations { ", the fastest implementation of each" } else { "" };
        self.output.say(format_args!("\ngeometric means{fastest}"))?;
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

    fn compare_files(&self, first: &std::path::Path, second: &std::path::Path) -> Result<Outcome> {
        let comparison = compare(first, second)?;
        let names: Vec<String> = comparison.pairs.iter().map(|pair| pair.sizes.to_string()).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let (a, b) = (first.display(), second.display());
        self.output.say(format_args!("A: {a}\nB: {b}\nratio: B's time by A's; above 1, A is faster\n"))?;
        self.output.say(format_args!(
            "{:<width$} {:<12} {:>11} {:>11} {:>7}",
            "case", "pass", "A ms", "B ms", "ratio"
        ))?;
        for (pair, name) in comparison.pairs.iter().zip(&names) {
            let [a, b] = pair.milliseconds;
            let ratio = pair.ratio();
            self.output
                .say(format_args!("{name:<width$} {:<12} {a:>11.3} {b:>11.3} {ratio:>7.2}", pair.pass))?;
            self.output.json(&json!({
                "case": pair.sizes, "pass": pair.pass.name(), "ms_a": a, "ms_b": b, "ratio": ratio,
            }))?;
        }
        self.output.say("\ngeometric means of the ratios")?;
        for (pass, ratio) in comparison.geometric_means() {
            self.output.say(format_args!("{pass:<12} {ratio:>7.2}"))?;
            self.output.json(&json!({ "summary": pass.name(), "geometric_mean_ratio": ratio }))?;
        }
        let [of_first, of_second] = comparison.unmatched;
        if of_first + of_second > 0 {
            self.output
                .say(format_args!("left out: {of_first} rows of A and {of_second} of B without a match"))?;
        }
        Ok(Outcome::Done)
    }
}

/// An object with the entries of both.
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
        row.case.name,
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
