//! Two files of results side by side, ours or those of another program.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::timing::geometric_mean;
use super::{ConvSizes, Pass};
use crate::{Error, Result};

/// The same work in two files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The convolution.
    pub sizes: ConvSizes,
    /// Its pass.
    pub pass: Pass,
    /// Milliseconds in the first file and in the second.
    pub milliseconds: [f64; 2],
}

impl Pair {
    /// The second file's time by the first's: above 1 the first is faster.
    pub fn ratio(&self) -> f64 {
        self.milliseconds[1] / self.milliseconds[0]
    }
}

/// What two files have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Pairs, in the order of the first file.
    pub pairs: Vec<Pair>,
    /// Rows of each file that the other has not.
    pub unmatched: [usize; 2],
}

impl Comparison {
    /// The geometric mean of the ratios of each pass that has any.
    pub fn geometric_means(&self) -> Vec<(Pass, f64)> {
        let mean = |pass: Pass| {
            let ratios = self.pairs.iter().filter(|pair| pair.pass == pass).map(Pair::ratio);
            geometric_mean(ratios).map(|mean| (pass, mean))
        };
        Pass::ALL.into_iter().filter_map(mean).collect()
    }
}

/// Rows of a file by what was done, and the order in which they came.
#[derive(Default)]
struct Results {
    milliseconds: HashMap<(ConvSizes, Pass), f64>,
    order: Vec<(ConvSizes, Pass)>,
}

/// Compares two files with a JSON object a line.
///
/// A row has `case`, an object of sizes by name, as numbers or text; `pass`; and `ms`. Lines without a `case`
/// are passed over; of several rows for the same work the fastest counts.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::File`], with the line, for one that holds something
/// else; [`Error::Invalid`] when the files have no row in common.
pub fn compare(first: &Path, second: &Path) -> Result<Comparison> {
    let [a, b] = [Results::read(first)?, Results::read(second)?];
    let pairs: Vec<Pair> = a
        .order
        .iter()
        .filter_map(|key| {
            let &(sizes, pass) = key;
            Some(Pair { sizes, pass, milliseconds: [a.milliseconds[key], *b.milliseconds.get(key)?] })
        })
        .collect();
    if pairs.is_empty() {
        let found = format!("{} and {} rows, none in common", a.order.len(), b.order.len());
        return Err(Error::invalid("--compare", "rows of the same case and pass in both files", found));
    }
    let unmatched = [a.order.len() - pairs.len(), b.order.len() - pairs.len()];
    Ok(Comparison { pairs, unmatched })
}

impl Results {
    fn read(path: &Path) -> Result<Results> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
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
            let key = (sizes, pass);
            match results.milliseconds.get_mut(&key) {
                Some(fastest) => *fastest = fastest.min(milliseconds),
                None => {
                    results.milliseconds.insert(key, milliseconds);
                    results.order.push(key);
                }
            }
        }
        Ok(results)
    }
}
