//! The table of compiled kernels.

use std::collections::{BTreeMap, HashMap};

use crate::compile::Compiled;
use crate::kernels::Call;

/// Prints, for each kernel and tile, what its programs take on each family: the worst of all their constants.
pub fn print_kernels(calls: &[Call], families: &[(String, Vec<Compiled>)]) {
    println!("| kernel | family | programs | registers | spilled | scratch | workgroup memory | subgroups per SIMD | multiply-adds, inner loop | multiply-adds, whole step | loads, buffers | loads, workgroup memory |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rows: BTreeMap<(String, usize), Vec<(&Call, &Compiled)>> = BTreeMap::new();
    for (number, (_, compiled)) in families.iter().enumerate() {
        let by_program: HashMap<&str, &Compiled> =
            compiled.iter().map(|compiled| (compiled.program.as_str(), compiled)).collect();
        let mut seen = std::collections::HashSet::new();
        for call in calls {
            let program = call.program();
            if let Some(compiled) = by_program.get(program.as_str())
                && seen.insert(program)
            {
                rows.entry((kernel(call), number)).or_default().push((call, compiled));
            }
        }
    }
    for ((kernel, family), programs) in rows {
        let range = |value: &dyn Fn(&Compiled) -> u32, unit: &str| {
            let values: Vec<u32> = programs.iter().map(|(_, compiled)| value(compiled)).collect();
            range(&values, unit)
        };
        let inner = |value: &dyn Fn(&crate::isa::Loop) -> u32, unit: &str| {
            let values: Vec<u32> =
                programs.iter().filter_map(|(_, compiled)| compiled.inner.as_ref()).map(value).filter(|&v| v > 0).collect();
            crate::table::range(&values, unit)
        };
        let steps: Vec<u32> = programs
            .iter()
            .filter_map(|(call, compiled)| compiled.step_share(call.step()?))
            .map(|share| (100.0 * share).round() as u32)
            .collect();
        let outer = |compiled: &Compiled| {
            let loops = [compiled.inner, compiled.outer].into_iter().flatten();
            loops.map(|found| found.buffer_bits).max().unwrap_or(0)
        };
        println!(
            "| {kernel} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            families[family].0,
            programs.len(),
            range(&|compiled| compiled.registers, ""),
            range(&|compiled| compiled.spilled, ""),
            range(&|compiled| compiled.scratch_bytes, ""),
            range(&|compiled| compiled.workgroup_bytes, ""),
            range(&|compiled| compiled.subgroups, ""),
            inner(&|found| (100.0 * found.share()).round() as u32, " %"),
            crate::table::range(&steps, " %"),
            range(&outer, " bit"),
            inner(&|found| found.workgroup_bits, " bit"),
        );
    }
    println!();
}

/// A kernel's file, with its tile where it has one.
pub fn kernel(call: &Call) -> String {
    match call.tile() {
        Some([m, n]) => format!("{} {m}x{n}", call.kernel),
        None => call.kernel.clone(),
    }
}

/// `a` or `a..b`; `-` for nothing.
fn range(values: &[u32], unit: &str) -> String {
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least == most => format!("{least}{unit}"),
        (Some(least), Some(most)) => format!("{least}..{most}{unit}"),
        _ => "-".into(),
    }
}
