//! Writes the kernels that a GPU would run, without one: for compilers' statistics and curious readers.
//!
//!     cargo bench --bench kernels -- FOLDER [MULTIPROCESSORS] [matrix-units]
//!
//! FOLDER gets each distinct kernel once, as WGSL, from every implementation that the built-in suites' convolutions and
//! the table of cases offer to a discrete GPU with MULTIPROCESSORS (132 when not given), and with matrix units if they are named,
//! and `kernels.json`: an object a line with the kernel's file, its constants, workgroups and bytes bound, and the operation and implementation that it
//! serves.

#[path = "shared/profile.rs"]
mod profile;

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use profile::discrete_gpu;
use serde_json::{Map, Value, json};
use wgconv::bench::{Pass, SUITES, suite};
use wgconv::device::MatrixUnits;
use wgconv::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source};
use wgconv::ops::{Element, Op};
use wgconv::verify::cases::{self, Case};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(folder) = arguments.first() else {
        println!("kernels: skipped, since no folder to write them to is given");
        return Ok(());
    };
    let multiprocessors = arguments.get(1).map_or(Ok(132), |count| count.parse())?;
    let mut device = discrete_gpu(multiprocessors);
    if arguments.get(2).is_some_and(|word| word == "matrix-units") {
        device.matrix_units =
            Some(MatrixUnits { lines: 16, lanes: device.min_subgroup_size, emulated: false });
    }
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    let mut list = BufWriter::new(File::create(folder.join("kernels.json"))?);
    let mut files: HashMap<Source, String> = HashMap::new();
    let mut calls = 0;
    for (suite, Case { name: case, op }) in operations()? {
        for (rank, implementation) in op.implementations(&device).into_iter().enumerate() {
            for (number, call) in implementation.calls.iter().enumerate() {
                let name = || format!("{:03}_{}", files.len(), call.source.name.replace('/', "_"));
                let file = match files.get(&call.source) {
                    Some(file) => file,
                    None => {
                        let file = name();
                        fs::write(folder.join(&file), call.source.compose())?;
                        files.entry(call.source.clone()).or_insert(file)
                    }
                };
                let row = json!({
                    "file": file,
                    "kernel": call.source.name,
                    "sizes": call.source.sizes.iter().copied().collect::<HashMap<_, _>>(),
                    "constants": constants(call),
                    "workgroups": call.workgroups,
                    "bytes": bytes(op.as_ref(), &implementation, call),
                    "suite": suite,
                    "case": case,
                    "op": op.name(),
                    "implementation": implementation.name,
                    "rank": rank,
                    "call": number,
                    "flops": op.flops(),
                });
                writeln!(list, "{row}")?;
                calls += 1;
            }
        }
    }
    list.flush()?;
    println!("kernels: {} in {calls} calls, written to {}", files.len(), folder.display());
    Ok(())
}

/// Every operation, with the suite that it comes from.
fn operations() -> Result<Vec<(&'static str, Case)>, Box<dyn Error>> {
    let mut operations = Vec::new();
    for name in SUITES {
        for case in suite(name)? {
            let passes = Pass::ALL.map(|pass| Case { name: case.name.clone(), op: pass.op(case.geometry) });
            operations.extend(passes.map(|case| (name, case)));
        }
    }
    operations.extend(cases::all().into_iter().map(|case| ("cases", case)));
    Ok(operations)
}

/// Bytes of the buffers that a call binds, each counted once: what it reads and writes at least.
fn bytes(op: &dyn Op, implementation: &Implementation, call: &KernelCall) -> u64 {
    let operands = op.operands();
    let size = |binding: &Binding| match *binding {
        Binding::Operand(number) => operands[number].element.bytes(operands[number].shape.elements()),
        Binding::Workspace(number) => Element::Real.bytes(implementation.workspace[number]),
        Binding::Span { first, last } => {
            operands[first..=last].iter().map(|operand| Element::Real.bytes(operand.shape.elements())).sum()
        }
    };
    call.bindings.iter().map(size).sum()
}

fn constants(call: &KernelCall) -> Map<String, Value> {
    let value = |constant| match constant {
        Constant::U32(value) => json!(value),
        Constant::F32(value) => json!(value),
    };
    call.constants.iter().map(|&(name, constant)| (name.to_owned(), value(constant))).collect()
}
