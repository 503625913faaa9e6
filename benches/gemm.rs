//! Convolutions on the CPU beside matrix products of the same sizes by the `gemm` crate, on the same threads.
//!
//!     cargo bench --bench gemm -- FILE.csv [THREADS]
//!
//! Prints a line for each convolution of the file and each pass: the product's and the convolution's milliseconds, and the
//! convolution's rate as a share of the product's. The two take turns, and the round that was disturbed least counts for
//! each. The product has the matrix of patches as one factor and gets it for nothing; its rows are shared out evenly.
//! Inputs are random, and lie in the caches where they fit. Groups are left out: their products are too small to compare.
//! Convolutions of few channels are no products of matrices to speak of, so they are summed up apart.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rayon::prelude::*;
use wgconv::bench::{ConvCase, Pass, geometric_mean, read_cases, time};
use wgconv::cpu::{Matrix, MatrixMut, multiply};
use wgconv::ops::{HostBuffer, Operands};

const BUDGET: Duration = Duration::from_millis(60);
const ROUNDS: usize = 5;
/// Channels on both sides of a convolution that is bound by its product.
const MANY_CHANNELS: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(file) = arguments.first() else {
        println!("gemm: skipped, since no file of convolutions is given");
        return Ok(());
    };
    let threads = arguments.get(1).map_or(Ok(0), |count| count.parse())?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    println!("{} threads", rayon::current_num_threads());
    println!(
        "{:32}{:14}{:14}{:>10}{:>10}{:>8}",
        "convolution", "pass", "form", "gemm ms", "conv ms", "share"
    );
    let cases = read_cases(Path::new(file))?;
    for pass in Pass::ALL {
        let (mut many, mut few) = (Vec::new(), Vec::new());
        for case in cases.iter().filter(|case| case.geometry.groups == 1) {
            let (mut product, mut convolution) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..ROUNDS {
                product = product.min(time_product(case, pass)?);
                convolution = convolution.min(time_convolution(case, pass)?);
            }
            let form = pass.op(case.geometry).cpu_forms()[0].name;
            let share = product / convolution;
            println!("{:32}{pass:14}{form:14}{product:10.3}{convolution:10.3}{share:8.2}", case.name);
            let channels = case.geometry.in_channels.min(case.geometry.out_channels);
            if channels >= MANY_CHANNELS { many.push(share) } else { few.push(share) }
        }
        for (shares, sides) in [(many, "on both sides"), (few, "on one at most")] {
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            let count = shares.len();
            if let Some(mean) = geometric_mean(shares) {
                println!(
                    "{pass}, {count} with {MANY_CHANNELS} channels {sides}: geometric mean {mean:.2}, least {least:.2}"
                );
            }
        }
    }
    Ok(())
}

fn random(elements: usize) -> Vec<f32> {
    let mut generator = SmallRng::seed_from_u64(elements as u64);
    (0..elements).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// Milliseconds of the matrix product that the pass comes to.
fn time_product(case: &ConvCase, pass: Pass) -> wgconv::Result<f64> {
    let geometry = &case.geometry;
    let positions = geometry.batch_size * geometry.positions();
    let (taps, filters) = (geometry.taps(), geometry.out_channels);
    let [rows, columns, depth] = match pass {
        Pass::Forward => [positions, filters, taps],
        Pass::GradFilters => [filters, taps, positions],
        Pass::GradInput => [positions, taps, filters],
    };
    let (a, b, mut result) = (random(rows * depth), random(depth * columns), vec![0.0; rows * columns]);
    let share = rows.div_ceil(rayon::current_num_threads());
    let timing = time(BUDGET, |times| {
        let start = Instant::now();
        for _ in 0..times {
            result.par_chunks_mut(share * columns).zip(a.par_chunks(share * depth)).for_each(
                |(result, a)| {
                    let rows = result.len() / columns;
                    let product = MatrixMut::row_major(result, rows, columns);
                    multiply(
                        product,
                        Matrix::row_major(a, rows, depth),
                        Matrix::row_major(&b, depth, columns),
                        false,
                    );
                },
            );
        }
        Ok(start.elapsed())
    })?;
    Ok(timing.median)
}

/// Milliseconds of the pass itself.
fn time_convolution(case: &ConvCase, pass: Pass) -> wgconv::Result<f64> {
    let op = pass.op(case.geometry);
    let form = op.cpu_forms().swap_remove(0);
    let buffers =
        op.operands().iter().map(|operand| HostBuffer::real(random(operand.shape.elements()))).collect();
    let mut operands = Operands::new(buffers);
    let timing = time(BUDGET, |times| {
        let start = Instant::now();
        for _ in 0..times {
            form.run(&mut operands);
        }
        Ok(start.elapsed())
    })?;
    Ok(timing.median)
}
