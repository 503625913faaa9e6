//! Options that several commands share, and where their output goes.

use std::fmt::Display;

use clap::Args;
use wgconv::Result;
use wgconv::device::DeviceChoice;
use wgconv::executors::{self, Opened};

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
    /// Opens the executor that the options ask for.
    pub fn open(&self) -> Result<Opened> {
        if let Some(threads) = self.threads {
            // The pool is made once, before anything runs in it, so this cannot fail.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().expect("the thread pool is made here first");
        }
        executors::open(&self.device, self.allow_software)
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
    pub fn say(self, text: impl Display) {
        if self.json { eprintln!("{text}") } else { println!("{text}") }
    }

    /// Prints an object for programs.
    pub fn json(self, object: &serde_json::Value) {
        if self.json {
            println!("{object}");
        }
    }
}
