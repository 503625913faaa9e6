//! Compiles every kernel of wgconv with Mesa's AMD compiler, on its null device: no GPU is needed. Prints what came out,
//! and what it lets a GPU expect that nobody has at hand.
//!
//!     cargo bench --bench kernels -- FOLDER
//!     cargo run --release --manifest-path benches/model/Cargo.toml -- FOLDER
//!
//! Needs Mesa's Vulkan drivers (Debian: `mesa-vulkan-drivers`), 25.0 or later for all families.

mod compile;
mod forecast;
mod isa;
mod kernels;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use compile::Compiled;

/// What a GPU's compiler makes of wgconv's kernels, and what to expect of them.
#[derive(Parser)]
struct Arguments {
    /// The folder that `cargo bench --bench kernels` wrote
    folder: PathBuf,
    /// GPU families: navi31 (RDNA 3), navi21 (RDNA 2), navi10, vega10
    #[arg(long, value_delimiter = ',', default_value = "navi31,navi21")]
    families: Vec<String>,
    /// Compile for the family that the environment names, and print a JSON object a kernel
    #[arg(long, hide = true)]
    compile: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let calls = kernels::read(&arguments.folder)?;
    if arguments.compile {
        return compile::compile_all(&arguments.folder, &calls);
    }
    let mut families = Vec::new();
    for family in arguments.families {
        let compiled = in_a_process(&arguments.folder, &family)?;
        families.push((family, compiled));
    }
    table::print_kernels(&calls, &families);
    let (_, compiled) = families.first().context("no family given")?;
    forecast::print(&calls, compiled);
    let wrong =
        families.iter().flat_map(|(_, compiled)| compiled).filter(|kernel| kernel.is_spilled()).count();
    ensure!(wrong == 0, "{wrong} kernels spill registers or use scratch memory");
    Ok(())
}

/// Compiles in a process of its own: Mesa reads the family when its driver is loaded.
fn in_a_process(folder: &Path, family: &str) -> Result<Vec<Compiled>> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--compile")
        .arg(folder)
        .env("RADV_FORCE_FAMILY", family)
        .env("VK_LOADER_DRIVERS_SELECT", "*radeon*")
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{family}: the kernels do not compile");
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
