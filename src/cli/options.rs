//! Options that several commands share, and the output of commands.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use wgconv::bench::BenchDevice;
use wgconv::device::DeviceChoice;
use wgconv::executors::{self, OpenOptions, Opened};
use wgconv::files::{CacheFolder, is_standard_output, quoted};
use wgconv::gpu::{ShaderChecks, Tuning, TuningNotice};
use wgconv::report::one_line;
use wgconv::{Error, Result};

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub struct DeviceOptions {
    /// auto, cpu, gpu, reference, an adapter's number, or part of its name
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// Let `--device gpu` use a software rasteriser if there is no GPU
    #[arg(long)]
    allow_software: bool,
    /// Threads of the CPU executor [default: RAYON_NUM_THREADS, otherwise all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS))]
    threads: Option<u16>,
}

const MOST_THREADS: i64 = 1024;

/// Starts the CPU's threads: as many as were asked for, otherwise as RAYON_NUM_THREADS says, otherwise one per core.
/// A command calls this before anything else, since a pool that starts implicitly panics if it cannot start.
pub fn start_threads(asked: Option<u16>) -> Result<()> {
    let threads = match asked {
        Some(threads) => threads.into(),
        None => match threads_of_environment()? {
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        },
    };
    let started = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    started.map_err(|error| Error::Device {
        device: "CPU".into(),
        operation: format!("starting {threads} threads"),
        cause: format!("{error}; try fewer, by --threads or RAYON_NUM_THREADS"),
    })
}

/// The value of RAYON_NUM_THREADS; 0 means that it is not set, as in every program that reads it.
fn threads_of_environment() -> Result<Option<usize>> {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    let text = std::env::var_os(VARIABLE).unwrap_or_default();
    match text.to_str().map(str::parse) {
        _ if text.is_empty() => Ok(None),
        Some(Ok(0)) => Ok(None),
        Some(Ok(threads)) if (1..=MOST_THREADS).contains(&threads) => Ok(Some(threads as usize)),
        _ => Err(Error::invalid(VARIABLE, format!("a number from 1 to {MOST_THREADS}"), format!("{text:?}"))),
    }
}

impl DeviceOptions {
    /// Starts the threads that the options ask for: [`start_threads`].
    pub fn start_threads(&self) -> Result<()> {
        start_threads(self.threads)
    }

    /// Opens the executor that the options ask for, without tuning, for commands that run each operation once.
    pub fn open(&self) -> Result<Opened> {
        let options = OpenOptions { kernels: CacheFolder::of_user(), ..self.options() };
        executors::open_with(&self.device, &options)
    }

    /// The same with or without index checks in the kernels, with implementations on matrix units, and without a cache of
    /// compiled kernels.
    pub fn open_with(&self, checks: ShaderChecks) -> Result<Opened> {
        executors::open_with(&self.device, &OpenOptions { checks, matrix_units: true, ..self.options() })
    }

    /// The same with tuning, for commands that run the same operations repeatedly.
    pub fn open_tuned(&self, tuning: TuningOptions) -> Result<Opened> {
        executors::open_with(&self.device, &tuning.options(self.options(), |notice| note(notice)))
    }

    /// Opens the device that the options ask for, for timing, with a line that names it.
    pub fn open_bench(&self, tuning: TuningOptions) -> Result<(BenchDevice, String)> {
        // The rows show what was chosen; one more line for each would drown them.
        let only_failures = |notice: &TuningNotice| {
            if let TuningNotice::Rejected { .. } | TuningNotice::WithoutMatrixUnits { .. } = notice {
                note(notice);
            }
        };
        // Rules choose none of these, but whoever asks for one, or for all, gets it.
        let options = OpenOptions { matrix_units: true, ..tuning.options(self.options(), only_failures) };
        BenchDevice::open(&self.device, &options)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { allow_software: self.allow_software, ..OpenOptions::default() }
    }
}

/// How implementations are chosen.
#[derive(Args, Clone, Copy, Debug)]
pub struct TuningOptions {
    /// On a GPU, run what rules choose, instead of measuring for a few seconds what is fastest
    #[arg(long)]
    no_tune: bool,
}

impl TuningOptions {
    fn options(
        self,
        options: OpenOptions,
        report: impl Fn(&TuningNotice) + Send + Sync + 'static,
    ) -> OpenOptions {
        let kernels = CacheFolder::of_user();
        let tuning = Tuning { cache: kernels.clone(), report: Arc::new(report), ..Tuning::default() };
        OpenOptions {
            kernels,
            tuning: (!self.no_tune).then_some(tuning),
            matrix_units: !self.no_tune,
            ..options
        }
    }
}

/// The options as a user would type them.
impl Display for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--device {}", quoted(self.device.to_string()))?;
        if self.allow_software {
            f.write_str(" --allow-software")?;
        }
        self.threads.map_or(Ok(()), |threads| write!(f, " --threads {threads}"))
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputOptions {
    /// Print one JSON object per line on stdout; text for people goes to stderr
    #[arg(long)]
    json: bool,
    // Whether standard output is used for a file of results.
    #[arg(skip)]
    is_taken: bool,
}

impl OutputOptions {
    /// The same for a command that writes a result to `out`, which `option` names: if that is standard output, as with
    /// `/dev/stdout`, text goes to stderr.
    pub fn beside(self, option: &str, out: &Path) -> Result<Self> {
        let is_taken = is_standard_output(out);
        match is_taken && self.json {
            true => Err(Error::invalid(option, "a file, since --json takes standard output", out.display())),
            false => Ok(OutputOptions { is_taken, ..self }),
        }
    }

    /// Prints a line for people. Everything in it that is not visible text, line breaks included, is escaped.
    pub fn say(self, line: impl Display) -> Result<()> {
        if self.json || self.is_taken {
            note(line);
            return Ok(());
        }
        print(one_line(&line.to_string()))
    }

    /// Prints the lines of a table, whose names must have been through [`short_name`](wgconv::report::short_name).
    pub fn say_table(self, table: &str) -> Result<()> {
        table.lines().try_for_each(|line| self.say(line))
    }

    /// Whether text for people goes to a terminal that shows all colours, and the user has not turned colours off.
    pub fn has_colours(self) -> bool {
        let set = |variable: &str| std::env::var(variable).unwrap_or_default();
        let is_terminal =
            if self.json || self.is_taken { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let has_all = ["truecolor", "24bit"].contains(&set("COLORTERM").as_str());
        is_terminal && has_all && set("NO_COLOR").is_empty()
    }

    /// Prints lines with colours for people, which must have been made here.
    pub fn draw(self, lines: &str) -> Result<()> {
        if self.json || self.is_taken {
            _ = write!(io::stderr(), "{lines}");
            return Ok(());
        }
        print(lines.trim_end_matches('\n'))
    }

    /// Prints the lines of a program exactly as they are; `option` asks for them.
    pub fn source(self, option: &str, lines: &str) -> Result<()> {
        match self.json {
            true => Err(Error::invalid(option, "standard output for the source alone", "--json")),
            false => print(lines.trim_end()),
        }
    }

    /// Prints an object for programs.
    pub fn json(self, object: &serde_json::Value) -> Result<()> {
        if self.json { print(object) } else { Ok(()) }
    }
}

/// Writes a line to stderr, escaped as by [`OutputOptions::say`]; errors are ignored.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", one_line(&line.to_string()));
}

fn print(text: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        // The reader, such as `head`, has read enough; the work itself goes on.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write", "standard output")),
    }
}
