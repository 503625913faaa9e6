//! Files of results side by side, as a table.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use wgconv::Result;
use wgconv::bench::{Comparison, Work, compare};
use wgconv::report::short_name;

use super::super::options::{OutputOptions, note};

/// Prints the rows that the files have in common.
pub fn compare_files(paths: &[PathBuf], output: OutputOptions) -> Result<()> {
    let comparison = compare(paths)?;
    let files = &comparison.files;
    let names: Vec<String> = files.iter().map(|file| short_name(&file.name)).collect();
    for (file, name) in files.iter().zip(&names) {
        let about = [file.path.display().to_string(), file.about.clone()];
        output.say(format_args!("{name}: {}", about.join("  ").trim_end()))?;
        output.json(&json!({
            "file": file.name, "path": file.path.display().to_string(), "about": file.about, "warm_cache": file.warm_cache,
        }))?;
    }
    output.say("NAME/FIRST: the time of NAME by that of the first; above 1, the first is faster")?;
    output.say("")?;

    let cases: Vec<String> = comparison.work.iter().map(|work| work.sizes.to_string()).collect();
    let width = cases.iter().map(String::len).max().unwrap_or(0);
    let columns = Columns { comparison: &comparison, names: &names };
    output.say(format_args!("{:<width$} {:<12}{}", "case", "pass", columns.heading()))?;
    for (work, case) in comparison.work.iter().zip(&cases) {
        output.say(format_args!("{case:<width$} {:<12}{}", work.pass, columns.line(work)))?;
        let entries = |value: &dyn Fn(usize) -> Option<f64>| -> Map<String, Value> {
            (0..).zip(files).map(|(number, file)| (file.name.clone(), value(number).into())).collect()
        };
        output.json(&json!({
            "case": work.sizes,
            "pass": work.pass.name(),
            "ms": entries(&|file| work.milliseconds[file]),
            "gflops": entries(&|file| work.gflops(file)),
            "ratio": entries(&|file| work.ratio(file)),
        }))?;
    }

    output.say("")?;
    output.say("geometric means of the ratios")?;
    for pass in comparison.passes() {
        for (number, file) in (0..).zip(files).skip(1) {
            let Some((mean, count)) = comparison.geometric_mean(pass, number) else { continue };
            let ratio = format!("{}/{}", names[number], names[0]);
            output.say(format_args!("{pass:<12} {mean:>7.2} {ratio}, cases: {count}"))?;
            output.json(&json!({
                "summary": pass.name(), "file": file.name, "geometric_mean_ratio": mean, "convolutions": count,
            }))?;
        }
    }

    let left_out = files.iter().zip(&names).filter(|(file, _)| file.unmatched > 0);
    let left_out: Vec<String> =
        left_out.map(|(file, name)| format!("{} of {name}", file.unmatched)).collect();
    if !left_out.is_empty() {
        output.say(format_args!("left out, rows without a match: {}", left_out.join(", ")))?;
    }
    let warm = |which: bool| files.iter().zip(&names).filter(move |(file, _)| file.warm_cache == Some(which));
    if warm(true).next().is_some() && warm(false).next().is_some() {
        let names: Vec<&str> = warm(true).map(|(_, name)| name.as_str()).collect();
        note(format_args!("not like for like: only {} read the same inputs every run", names.join(", ")));
    }
    Ok(())
}

/// The columns of each file: milliseconds, GFLOP/s, and the ratio to the first.
struct Columns<'a> {
    comparison: &'a Comparison,
    names: &'a [String],
}

impl Columns<'_> {
    const NARROWEST: usize = 9;

    fn headings(&self) -> Vec<String> {
        let names = self.names;
        let milliseconds = names.iter().map(|name| format!("{name} ms"));
        let gflops = names.iter().map(|name| format!("{name} GFLOP/s"));
        let ratios = names.iter().skip(1).map(|name| format!("{name}/{}", names[0]));
        milliseconds.chain(gflops).chain(ratios).collect()
    }

    fn heading(&self) -> String {
        self.aligned(self.headings())
    }

    fn line(&self, work: &Work) -> String {
        let files = 0..self.comparison.files.len();
        let cell = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "-".into(),
        };
        let milliseconds = files.clone().map(|file| cell(work.milliseconds[file], 3));
        let gflops = files.clone().map(|file| cell(work.gflops(file), 1));
        let ratios = files.skip(1).map(|file| cell(work.ratio(file), 2));
        self.aligned(milliseconds.chain(gflops).chain(ratios).collect())
    }

    fn aligned(&self, cells: Vec<String>) -> String {
        let widths = self.headings().into_iter().map(|heading| heading.chars().count().max(Self::NARROWEST));
        cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:>width$}")).collect()
    }
}
