//! The list of kernels to compile, as `cargo bench --bench kernels` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A launch of a kernel.
#[derive(Debug, Deserialize)]
pub struct Call {
    pub file: String,
    pub kernel: String,
    pub sizes: BTreeMap<String, u32>,
    pub constants: BTreeMap<String, f64>,
    pub workgroups: [u32; 3],
    pub bytes: u64,
    pub suite: String,
    pub case: String,
    pub op: String,
    pub implementation: String,
    pub rank: usize,
    pub call: usize,
    pub flops: u64,
}

impl Call {
    /// What tells compiled programs apart.
    pub fn program(&self) -> String {
        let constants: Vec<String> =
            self.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", self.file, constants.join(" "))
    }

    /// `128x64`, for kernels that do a matrix product in tiles.
    pub fn tile(&self) -> Option<[u32; 2]> {
        Some([*self.sizes.get("TILE_M")?, *self.sizes.get("TILE_N")?])
    }

    /// Multiply-adds of an invocation from one fetch of the tiles to the next; `None` on matrix units.
    pub fn step(&self) -> Option<u32> {
        Some(self.sizes.get("THREAD_M")? * self.sizes["THREAD_N"] * self.sizes["TILE_K"])
    }

    /// The size that the kernel's subgroups must have, if it counts on one: kernels for matrix units do. Others have lanes of
    /// their own.
    pub fn subgroup_size(&self) -> Option<u32> {
        let lanes = self.sizes.get("LANES").copied();
        lanes.filter(|_| self.sizes.contains_key("SUBGROUPS_M"))
    }
}

/// Reads `kernels.json` of a folder.
pub fn read(folder: &Path) -> Result<Vec<Call>> {
    let path = folder.join("kernels.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_string())).collect()
}
