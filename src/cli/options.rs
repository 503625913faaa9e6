//! Options that several commands share, and where their output goes.

use std::fmt::{self, Display};
use std::io::{self, Write};

use clap::Args;
use wgconv::bench::BenchDevice;
use wgconv::device::DeviceChoice;
use wgconv::executors::{self, Opened};
use wgconv::gpu::ShaderChecks;
use wgconv::{Error, Result};

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub struct DeviceOptions {
    /// auto, cpu, gpu, reference, an adapter's number, or part of its name
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// Let `--device gpu` take a software rasteriser where there is no GPU
    #[arg(long)]
    allow_software: bool,
    /// Threads of the CPU executor [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl DeviceOptions {
    /// Sets the number of threads; a command calls it before it does anything else.
    pub fn start_threads(&self) {
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().expect("nothing has run in the thread pool yet");
        }
    }

    /// Opens the executor that the options ask for.
    pub fn open(&self) -> Result<Opened> {
        executors::open(&self.device, self.allow_software)
    }

    /// The same, with kernels that check their indices, or that do not.
    pub fn open_with(&self, checks: ShaderChecks) -> Result<Opened> {
        executors::open_with(&self.device, self.allow_software, checks)
    }

    /// Opens the device that the options ask for, to be timed, with a line that names it.
    pub fn open_bench(&self) -> Result<(BenchDevice, String)> {
        BenchDevice::open(&self.device, self.allow_software)
    }
}

/// The options as they would be typed.
impl Display for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--device {}", quoted(&self.device.to_string()))?;
        if self.allow_software {
            f.write_str(" --allow-software")?;
        }
        self.threads.map_or(Ok(()), |threads| write!(f, " --threads {threads}"))
    }
}

/// `text` as a shell takes it for one argument.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputOptions {
    /// Print one JSON object a line on stdout; text for people goes to stderr
    #[arg(long)]
    json: bool,
}

impl OutputOptions {
    /// Prints text for people.
    pub fn say(self, text: impl Display) -> Result<()> {
        if self.json {
            note(text);
            return Ok(());
        }
        print(text)
    }

    /// Prints an object for programs.
    pub fn json(self, object: &serde_json::Value) -> Result<()> {
        if self.json { print(object) } else { Ok(()) }
    }
}

/// Writes a line to stderr; where nobody can read it, there is nobody to tell.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn print(text: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough, as `head` has; the work itself is still wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write", "standard output")),
    }
}
