//! Times Burn's convolutions on wgpu: a JSON object a row, like `wgconv bench --json`.
//!
//! Each pass of each case runs in a process of its own. Burn tunes a convolution when it first meets it, and that call
//! may take minutes; its time is in `first_call_s` and in no other figure. Nothing that Burn learned or allocated for
//! one row is there for the next, and a row that Burn fails at ends no other.

mod case;
mod measure;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::str::FromStr;

use cubecl::device::WgpuDeviceKind;
use clap::{Parser, ValueEnum};

use case::{Case, read_cases};

/// Times Burn's convolutions on wgpu, forward and both gradients: a JSON object a row
#[derive(Parser, Clone, Debug)]
#[command(args_override_self = true)]
struct Options {
    /// A CSV file of convolutions, with the columns of `wgconv bench --cases`
    #[arg(long, value_name = "FILE.csv")]
    cases: PathBuf,
    /// Which of the passes to time
    #[arg(long, value_enum, default_value = "all")]
    pass: Pass,
    /// Replace the number of images of every convolution
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Time to spend on a row, at least, besides the first call
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    budget: f64,
    /// auto, software, or the n-th of a kind: discrete:0, integrated:0, virtual:0, other:0
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Let every run read the same inputs, which a cache may then hold; else copies of them in turn
    #[arg(long)]
    warm_cache: bool,
    /// Lay tensors out with the channels last, as Burn's own convolutions leave their outputs
    #[arg(long)]
    channels_last: bool,
    /// Time the case of this position alone, in this process
    #[arg(long, hide = true)]
    alone: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Pass {
    All,
    Forward,
    #[value(alias = "grad-filters")]
    GradFilters,
    #[value(alias = "grad-input")]
    GradInput,
}

impl Pass {
    fn name(self) -> &'static str {
        match self {
            Pass::All => "all",
            Pass::Forward => "forward",
            Pass::GradFilters => "grad_filters",
            Pass::GradInput => "grad_input",
        }
    }
}

#[derive(Clone, Debug)]
struct Device(WgpuDeviceKind);

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let indexed = |kind: fn(usize) -> WgpuDeviceKind, number: &str| number.parse().ok().map(kind);
        let kind = match text.split_once(':') {
            None if text == "auto" => Some(WgpuDeviceKind::DefaultDevice),
            None if text == "software" => Some(WgpuDeviceKind::Cpu),
            Some(("discrete", number)) => indexed(WgpuDeviceKind::DiscreteGpu, number),
            Some(("integrated", number)) => indexed(WgpuDeviceKind::IntegratedGpu, number),
            Some(("virtual", number)) => indexed(WgpuDeviceKind::VirtualGpu, number),
            Some(("other", number)) => indexed(WgpuDeviceKind::Other, number),
            _ => None,
        };
        kind.map(Device)
            .ok_or_else(|| "expected auto, software, discrete:N, integrated:N, virtual:N or other:N".into())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let cases = match read_cases(&options.cases, options.batch) {
        Ok(cases) => cases,
        Err(message) => {
            eprintln!("error: {}: {message}", options.cases.display());
            return ExitCode::from(2);
        }
    };
    if let Some(number) = options.alone {
        println!("{}", measure::row(&cases[number], &options));
        return ExitCode::SUCCESS;
    }
    let passes = match options.pass {
        Pass::All => vec![Pass::Forward, Pass::GradFilters, Pass::GradInput],
        one => vec![one],
    };
    let mut code = ExitCode::SUCCESS;
    for (number, case) in cases.iter().enumerate() {
        for pass in &passes {
            if let Err(message) = run_alone(number, *pass) {
                eprintln!("{case}, {}: no row, {message}", pass.name());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Times a row in a process of its own, which prints it.
fn run_alone(number: usize, pass: Pass) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program);
    child.args(std::env::args_os().skip(1));
    child.args(["--pass", pass.name(), "--alone", &number.to_string()]);
    let status = child.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}
