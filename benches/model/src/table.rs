//! The table of compiled kernels.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::compile::Compiled;
use crate::forecast::{BYTES_PER_S, FLOPS_PER_S};
use crate::isa::Loop;
use crate::kernels::Call;

/// Prints, for each kernel and tile, what its programs take on each family: the worst of all their constants.
pub fn print_kernels(calls: &[Call], families: &[(String, Vec<Compiled>)]) {
    println!(
        "| kernel | family | programs | registers | spilled | scratch | workgroup memory | subgroups per SIMD | multiply-adds, inner loop | multiply-adds, whole step | products of matrices | loads, buffers | loads, workgroup memory | bound on 132 multiprocessors |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rows: BTreeMap<(String, usize), Vec<(&Call, &Compiled)>> = BTreeMap::new();
    for (number, (_, compiled)) in families.iter().enumerate() {
        let by_program: HashMap<&str, &Compiled> =
            compiled.iter().map(|compiled| (compiled.program.as_str(), compiled)).collect();
        let mut seen = HashSet::new();
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
            range_of(&values, unit)
        };
        let inner = |value: &dyn Fn(&Loop) -> u32, unit: &str| {
            let values: Vec<u32> = programs
                .iter()
                .filter_map(|(_, compiled)| compiled.inner.as_ref())
                .map(value)
                .filter(|&v| v > 0)
                .collect();
            range_of(&values, unit)
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
            "| {kernel} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            families[family].0,
            programs.len(),
            range(&|compiled| compiled.registers, ""),
            range(&|compiled| compiled.spilled, ""),
            range(&|compiled| compiled.scratch_bytes, ""),
            range(&|compiled| compiled.workgroup_bytes, ""),
            range(&|compiled| compiled.subgroups, ""),
            inner(&|found| (100.0 * found.share()).round() as u32, " %"),
            range_of(&steps, " %"),
            products_of_matrices(&programs),
            range(&outer, " bit"),
            inner(&|found| found.workgroup_bits, " bit"),
            bound(&programs),
        );
    }
    println!();
}

/// The products of matrices of the inner loop, and its instructions: those of the program with the most instructions.
fn products_of_matrices(programs: &[(&Call, &Compiled)]) -> String {
    let loops = programs.iter().filter_map(|(_, compiled)| compiled.inner);
    let longest = loops.filter(|found| found.matrix_products > 0).max_by_key(|found| found.instructions);
    longest.map_or("-".into(), |found| format!("{} of {}", found.matrix_products, found.instructions))
}

/// What limits a kernel's best program: the rate of multiply-adds that its instructions leave, or memory where it does
/// hardly any.
fn bound(programs: &[(&Call, &Compiled)]) -> String {
    let shares = programs.iter().filter_map(|(call, compiled)| match call.step() {
        Some(step) => compiled.step_share(step),
        None => compiled.inner.map(|inner| inner.share()),
    });
    let share = shares.fold(0.0, f64::max);
    let is_data_moved =
        programs.iter().any(|(call, _)| MOVES_DATA.iter().any(|kind| call.kernel.starts_with(kind)));
    match share > 0.0 && !is_data_moved {
        true => format!("{:.0} TFLOP/s", share * FLOPS_PER_S / 1e12),
        false => format!("{:.1} TB/s", BYTES_PER_S / 1e12),
    }
}

/// Kernels that add or compare a few values for each that they read.
const MOVES_DATA: [&str; 6] = ["activation/", "batch/", "bias/", "loss/", "optimizer/", "pool/"];

/// A kernel's file, with its tile where it has one.
pub fn kernel(call: &Call) -> String {
    match call.tile() {
        Some([m, n]) => format!("{} {m}x{n}", call.kernel),
        None => call.kernel.clone(),
    }
}

/// `a` or `a..b`; `-` for nothing.
fn range_of(values: &[u32], unit: &str) -> String {
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least == most => format!("{least}{unit}"),
        (Some(least), Some(most)) => format!("{least}..{most}{unit}"),
        _ => "-".into(),
    }
}
