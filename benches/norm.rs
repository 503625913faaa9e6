//! A batch normalisation and the activation behind it on the CPU, forward and backward, beside a copy.
//!
//!     cargo bench --bench norm -- [ACTIVATION [THREADS]]
//!
//! The sizes are those of resnet20's layers in batches of 128, and of a wide layer in batches of 256. The bound is the time
//! of a copy of the tensor (one read, one write) times the tensors that have to be moved, halved: forward reads the input
//! for the statistics and for the normalisation, and writes the output; backward reads the input and the gradient of the
//! output twice, and writes the gradient of the input. Everything is timed in turns, so that what else the machine does
//! meets all alike; times are the least and the median.

#[allow(dead_code, reason = "this bench uses a part of it")]
mod shared;

use std::error::Error;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use shared::{contents, plan_of};
use wgconv::bench::Timing;
use wgconv::network::NetworkFile;
use wgconv::ops::{CpuForm, Element, HostBuffer, Operands};
use wgconv::plan::{Prologues, Step};
use wgconv::tensor::ImageShape;

/// For each size.
const BUDGET: Duration = Duration::from_secs(8);

/// Tensors that forward and backward have to move at least.
const FORWARD_TENSORS: f64 = 3.0;
const BACKWARD_TENSORS: f64 = 5.0;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(activation) = arguments.first() else {
        println!("norm: skipped, since no activation is given");
        return Ok(());
    };
    let threads = arguments.get(1).map_or(Ok(0), |text| text.parse())?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    println!("batch_norm + {activation}, {} threads; ms: least (median)", rayon::current_num_threads());
    println!("{:>12} {:>16} {:>8} {:>16} {:>16}  of bound", "size", "copy", "GB/s", "forward", "backward");
    for (batch_size, side, channels) in [(128, 32, 16), (128, 16, 32), (128, 8, 64), (256, 31, 64)] {
        time(batch_size, side, channels, activation)?;
    }
    Ok(())
}

fn time(batch_size: usize, side: usize, channels: usize, activation: &str) -> Result<(), Box<dyn Error>> {
    let image = ImageShape { height: side, width: side, channels };
    let conv = format!("type = \"conv2d\"\nfilters = {channels}\nkernel_size = 1");
    let activation = format!("type = \"{activation}\"");
    let others = ["type = \"batch_norm\"", &activation, "type = \"global_average_pool\""];
    let layers = [&[conv.as_str()][..], &others, &["type = \"dense\"\nunits = 10"]].concat();
    let text = format!("name = \"norm\"\n[[layers]]\n{}", layers.join("\n[[layers]]\n"));
    let network = NetworkFile::parse(&text)?.build(Some(image))?;
    let plan = plan_of(&network, batch_size, 1 << 20, Prologues::Everywhere, false, false)?;
    let mut buffers = contents(&plan);
    plan.steps().for_each(|step| {
        run(step, &step.op.cpu_forms()[0], &mut buffers);
    });
    let elements = batch_size * side * side * channels;
    let [mut from, mut to] = [(); 2].map(|()| HostBuffer::<f32>::zeros(Element::Real, elements));
    from.reals_mut().fill(1.0);
    let (from, to) = (from.reals(), to.reals_mut());
    let [mut copies, mut forward, mut backward] = [const { Vec::new() }; 3];
    // On a thread of the pool, as the executor runs steps.
    rayon::scope(|_| {
        let start = Instant::now();
        while start.elapsed() < BUDGET {
            let share = elements.div_ceil(rayon::current_num_threads());
            let copy = Instant::now();
            to.par_chunks_mut(share)
                .zip(from.par_chunks(share))
                .for_each(|(to, from)| to.copy_from_slice(from));
            copies.push(copy.elapsed().as_secs_f64() * 1e3);
            std::hint::black_box(&*to);
            let mut pass = |steps: &[Step]| -> f64 {
                let steps = steps.iter().filter(|step| is_norm(step));
                steps.map(|step| run(step, &step.op.cpu_forms()[0], &mut buffers)).sum()
            };
            forward.push(pass(&plan.forward));
            backward.push(pass(&plan.backward));
        }
    });
    let [copy, forward, backward] = [copies, forward, backward].map(Timing::of);
    let shown = |time: Timing| format!("{:.3} ({:.3})", time.least, time.median);
    let bound = |copy: f64| (FORWARD_TENSORS + BACKWARD_TENSORS) / 2.0 * copy;
    println!(
        "{:>12} {:>16} {:8.1} {:>16} {:>16}  {:.0} % ({:.0} %)",
        format!("{}x{channels}", batch_size * side * side),
        shown(copy),
        8.0 * elements as f64 / copy.least / 1e6,
        shown(forward),
        shown(backward),
        100.0 * bound(copy.least) / (forward.least + backward.least),
        100.0 * bound(copy.median) / (forward.median + backward.median),
    );
    Ok(())
}

/// Whether a step belongs to the normalisation or its activation.
fn is_norm(step: &Step) -> bool {
    step.op.name().starts_with("batch_norm") || step.op.name().starts_with("activation")
}

/// Runs a step, and returns its time in milliseconds.
fn run(step: &Step, form: &CpuForm<'_>, buffers: &mut [HostBuffer<f32>]) -> f64 {
    let given = step.operands.iter().map(|id| std::mem::take(&mut buffers[id.index()]));
    let mut operands = Operands::new(given.collect());
    let start = Instant::now();
    form.run(&mut operands);
    let time = start.elapsed().as_secs_f64() * 1e3;
    for (id, buffer) in step.operands.iter().zip(operands.into_buffers()) {
        buffers[id.index()] = buffer;
    }
    time
}
