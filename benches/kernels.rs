//! Writes the kernels that a GPU would run, without one: for compilers' statistics and curious readers.
//!
//!     cargo bench --bench kernels -- FOLDER [MULTIPROCESSORS]
//!
//! FOLDER gets each distinct kernel once, as WGSL, from every implementation that the built-in suites' convolutions
//! offer to a discrete GPU with MULTIPROCESSORS (132 when not given), and `kernels.json`: an object a line with the
//! kernel's file, its constants and workgroups, and the convolution, pass and implementation that it serves.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use wgconv::bench::{Pass, SUITES, suite};
use wgconv::device::{DeviceKind, DeviceProfile};
use wgconv::ops::kernel::{Constant, KernelCall, Source};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(folder) = arguments.first() else {
        println!("kernels: skipped, since no folder to write them to is given");
        return Ok(());
    };
    let multiprocessors = arguments.get(1).map_or(Ok(132), |count| count.parse())?;
    let device = DeviceProfile {
        name: "discrete GPU".into(),
        kind: DeviceKind::DiscreteGpu,
        min_subgroup_size: 32,
        max_workgroup_bytes: 48 << 10,
        max_workgroup_invocations: 1024,
        max_buffer_bytes: 4 << 30,
        max_binding_bytes: (4 << 30) - 4,
        multiprocessors: Some(multiprocessors),
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    let mut list = BufWriter::new(File::create(folder.join("kernels.json"))?);
    let mut files: HashMap<Source, String> = HashMap::new();
    let mut calls = 0;
    for case in SUITES.into_iter().map(suite).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        for pass in Pass::ALL {
            let op = pass.op(case.geometry);
            for (rank, implementation) in op.implementations(&device).into_iter().enumerate() {
                for call in implementation.calls {
                    let number = files.len();
                    let name = || format!("{number:03}_{}", call.source.name.replace('/', "_"));
                    let file = files.entry(call.source.clone()).or_insert_with(name);
                    fs::write(folder.join(&*file), call.source.compose())?;
                    let row = json!({
                        "file": file,
                        "sizes": call.source.sizes.iter().copied().collect::<HashMap<_, _>>(),
                        "constants": constants(&call),
                        "workgroups": call.workgroups,
                        "case": case.name,
                        "pass": pass.name(),
                        "implementation": implementation.name,
                        "rank": rank,
                        "flops": op.flops(),
                    });
                    writeln!(list, "{row}")?;
                    calls += 1;
                }
            }
        }
    }
    list.flush()?;
    println!("kernels: {} in {calls} calls, written to {}", files.len(), folder.display());
    Ok(())
}

fn constants(call: &KernelCall) -> Map<String, Value> {
    let value = |constant| match constant {
        Constant::U32(value) => json!(value),
        Constant::F32(value) => json!(value),
    };
    call.constants.iter().map(|&(name, constant)| (name.to_owned(), value(constant))).collect()
}
