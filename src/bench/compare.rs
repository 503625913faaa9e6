//! Comparing files of results, from wgconv or from other programs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::timing::geometric_mean;
use super::{ConvSizes, Pass};
use crate::files::read_text;
use crate::{Error, Result};

/// Most bytes of a file of results: some hundred thousand rows.
const MOST_BYTES: u64 = 256 << 20;

/// The results of several files for the same work.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The convolution.
    pub sizes: ConvSizes,
    /// Its pass.
    pub pass: Pass,
    /// Milliseconds in each file, if it has this work.
    pub milliseconds: Vec<Option<f64>>,
}

impl Work {
    /// A file's time divided by the first file's: above 1, the first is faster.
    pub fn ratio(&self, file: usize) -> Option<f64> {
        Some(self.milliseconds[file]? / self.milliseconds[0]?)
    }

    /// Floating-point operations per second in a file, in billions, counted as by [`ConvGeometry::flops`].
    ///
    /// [`ConvGeometry::flops`]: crate::ops::conv::ConvGeometry::flops
    pub fn gflops(&self, file: usize) -> Option<f64> {
        let flops = self.sizes.geometry().ok()?.flops();
        Some(flops as f64 / self.milliseconds[file]? / 1e6)
    }
}

/// A file of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The file's name without folder and extension if these differ between the files, otherwise a letter.
    pub name: String,
    /// The file's path.
    pub path: PathBuf,
    /// The program, its version and the device, as far as the rows tell.
    pub about: String,
    /// Whether all runs read the same inputs, if the rows tell.
    pub warm_cache: Option<bool>,
    /// Number of rows without a match.
    pub unmatched: usize,
}

/// The work that several files have in common with the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The files.
    pub files: Vec<Compared>,
    /// Work of the first file that another file also has, in the first file's order.
    pub work: Vec<Work>,
}

impl Comparison {
    /// For a pass, the geometric mean of a file's ratios and their number; `None` if it has none.
    pub fn geometric_mean(&self, pass: Pass, file: usize) -> Option<(f64, usize)> {
        let work = self.work.iter().filter(|work| work.pass == pass);
        let ratios: Vec<f64> = work.filter_map(|work| work.ratio(file)).collect();
        let count = ratios.len();
        geometric_mean(ratios).map(|mean| (mean, count))
    }

    /// The passes that occur in the work.
    pub fn passes(&self) -> impl Iterator<Item = Pass> {
        Pass::ALL.into_iter().filter(|&pass| self.work.iter().any(|work| work.pass == pass))
    }
}

/// Compares files with one JSON object per line.
///
/// A row has `case`, an object of sizes by name, as numbers or text; `pass`; and `ms`. `program`, `version`,
/// `commit`, `adapter`, `backend` and `warm_cache` are shown if a row has them. Lines without a `case` are ignored;
/// of several rows for the same work, the fastest counts.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::File`], with the line, for one in another format;
/// [`Error::Invalid`] when no file has a row in common with the first.
pub fn compare(paths: &[impl AsRef<Path>]) -> Result<Comparison> {
    let results: Vec<Results> =
        paths.iter().map(|path| Results::read(path.as_ref())).collect::<Result<_>>()?;
    let found = || {
        let rows: Vec<String> = results.iter().map(|file| file.order.len().to_string()).collect();
        format!("{} rows, none in common", rows.join(" and "))
    };
    let none = || Error::invalid("--compare", "rows of the same case and pass as in the first file", found());
    let (first, others) = results.split_first().ok_or_else(none)?;
    let shared = first.order.iter().filter(|key| others.iter().any(|other| other.fastest.contains_key(key)));
    let work: Vec<Work> = shared
        .map(|key| {
            let milliseconds = results.iter().map(|file| file.fastest.get(key).copied()).collect();
            Work { sizes: key.0, pass: key.1, milliseconds }
        })
        .collect();
    if work.is_empty() {
        return Err(none());
    }
    let names = names(paths);
    let files = (0..).zip(&results).zip(names).zip(paths).map(|(((file, results), name), path)| {
        let matched = work.iter().filter(|work| work.milliseconds[file].is_some()).count();
        let unmatched = results.order.len() - matched;
        let (about, warm_cache) = (results.about.clone(), results.warm_cache);
        Compared { name, path: path.as_ref().into(), about, warm_cache, unmatched }
    });
    Ok(Comparison { files: files.collect(), work })
}

fn names(paths: &[impl AsRef<Path>]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stems: Option<Vec<String>> = paths.iter().map(|path| stem(path.as_ref())).collect();
    let differ = |stems: &Vec<String>| stems.iter().collect::<HashSet<_>>().len() == stems.len();
    stems.filter(differ).unwrap_or_else(|| ('A'..).take(paths.len()).map(String::from).collect())
}

/// Rows of a file by convolution and pass, and their order in the file.
#[derive(Default)]
struct Results {
    fastest: HashMap<(ConvSizes, Pass), f64>,
    order: Vec<(ConvSizes, Pass)>,
    about: String,
    warm_cache: Option<bool>,
}

impl Results {
    fn read(path: &Path) -> Result<Results> {
        let text = read_text(path, MOST_BYTES)?;
        let mut results = Results::default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |expected: &str, found: String| {
                Error::file(format!("{}: line {number}", path.display()), expected, found)
            };
            let row: Value =
                serde_json::from_str(line).map_err(|error| wrong("a JSON object", error.to_string()))?;
            let Some(case) = row.get("case") else { continue };
            let columns = case.as_object().ok_or_else(|| wrong("an object of sizes", case.to_string()))?;
            let sizes =
                ConvSizes::from_columns(columns).map_err(|found| wrong("sizes of a convolution", found))?;
            let pass = row["pass"].as_str().and_then(Pass::find).ok_or_else(|| {
                wrong("a pass: forward, grad_filters or grad_input", row["pass"].to_string())
            })?;
            let milliseconds = row["ms"]
                .as_f64()
                .filter(|&ms| ms > 0.0)
                .ok_or_else(|| wrong("ms above zero", row["ms"].to_string()))?;
            if results.order.is_empty() {
                results.about = about(&row);
                results.warm_cache = row["warm_cache"].as_bool();
            }
            let key = (sizes, pass);
            match results.fastest.get_mut(&key) {
                Some(fastest) => *fastest = fastest.min(milliseconds),
                None => {
                    results.fastest.insert(key, milliseconds);
                    results.order.push(key);
                }
            }
        }
        Ok(results)
    }
}

/// `wgconv 0.1.0 1234abcd on NVIDIA H200 (vulkan)`, as far as a row tells.
fn about(row: &Value) -> String {
    let text = |key: &str| row[key].as_str();
    let mut words: Vec<&str> = ["program", "version", "commit"].into_iter().filter_map(text).collect();
    words.extend(text("adapter").into_iter().flat_map(|adapter| ["on", adapter]));
    let backend = text("backend").map(|backend| format!("({backend})"));
    words.extend(backend.as_deref());
    words.join(" ")
}
