//! Where a training step's time goes on the CPU: each operation of the plan, and the step as a whole.
//!
//!     cargo bench --bench step -- MODEL [BATCH_SIZE [THREADS]] [--json]
//!
//! MODEL is a preset (lenet, vgg-mini, ..), trained on random images and labels of its own size. Times are medians of the
//! steps that fit into five seconds; the rate counts whole steps. With `--json`, one object says what a whole step takes.

mod shared;

use std::error::Error;
use std::time::{Duration, Instant};

use shared::{contents, training_plan};
use wgconv::bench::Timing;
use wgconv::ops::{CpuForm, Operands};
use wgconv::plan::Prologues;

const BUDGET: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let (flags, arguments): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .partition(|argument| argument == "--json");
    let Some(model) = arguments.first() else {
        println!("step: skipped, since no model is given");
        return Ok(());
    };
    let number = |position: usize, default| arguments.get(position).map_or(Ok(default), |text| text.parse());
    let (batch_size, threads) = (number(1, 64)?, number(2, 0)?);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let plan = training_plan(model, batch_size, 1 << 20, Prologues::Everywhere, false)?;
    let mut buffers = contents(&plan);
    let forms: Vec<CpuForm<'_>> = plan.steps().map(|step| step.op.cpu_forms().swap_remove(0)).collect();
    let mut times = vec![Vec::new(); forms.len()];
    let mut steps = Vec::new();
    rayon::scope(|_| {
        let start = Instant::now();
        while start.elapsed() < BUDGET {
            let step_start = Instant::now();
            for ((step, form), times) in plan.steps().zip(&forms).zip(&mut times) {
                let start = Instant::now();
                let given = step.operands.iter().map(|id| std::mem::take(&mut buffers[id.index()]));
                let mut operands = Operands::new(given.collect());
                form.run(&mut operands);
                for (id, buffer) in step.operands.iter().zip(operands.into_buffers()) {
                    buffers[id.index()] = buffer;
                }
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            steps.push(step_start.elapsed().as_secs_f64() * 1e3);
        }
    });
    let Timing { median, quartiles: [low, high], .. } = Timing::of(steps);
    if !flags.is_empty() {
        let (ms, threads) = (median, rayon::current_num_threads());
        let row = serde_json::json!({
            "program": "wgconv", "model": model, "batch": batch_size, "threads": threads, "ms": ms, "ms_quartiles": [low, high]
        });
        println!("{row}");
        return Ok(());
    }
    println!("{:>9}{:>10}  {:24}{:14}operands", "ms", "GFLOP/s", "operation", "form");
    for ((step, form), times) in plan.steps().zip(&forms).zip(times) {
        let milliseconds = Timing::of(times).median;
        let shapes: Vec<String> = step.operands.iter().map(|&id| plan.buffer(id).shape.to_string()).collect();
        println!(
            "{milliseconds:9.4}{:10.1}  {:24}{:14}{}",
            step.op.flops() as f64 / milliseconds / 1e6,
            step.op.name(),
            form.name,
            shapes.join(" "),
        );
    }
    println!(
        "{model}, batches of {batch_size}, {} threads: {median:.2} ms a step ({low:.2}..{high:.2}), {:.0} images/s",
        rayon::current_num_threads(),
        batch_size as f64 / median * 1e3,
    );
    Ok(())
}
