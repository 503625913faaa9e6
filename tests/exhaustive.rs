//! Every small geometry, degenerate ones in pairs: exactly the definition's answer on integers, in every pass and form of
//! the CPU, and a sample of it in every implementation of the GPU.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use wgconv::cpu::CpuExecutor;
use wgconv::gpu::ShaderChecks;
use wgconv::plan::Executor;
use wgconv::verify::{Data, Exhaustive, Status, verify};

/// Verifies the geometries of these numbers on integers; what failed, and how many trials there were.
fn failures(
    sweep: &Exhaustive,
    numbers: impl Iterator<Item = usize>,
    executor: &mut dyn Executor,
) -> (Vec<String>, usize) {
    let (mut failures, mut trials) = (Vec::new(), 0);
    for case in numbers.flat_map(|number| sweep.cases(number)) {
        let implementations = executor.implementations(case.op.as_ref());
        for verdict in verify(case, Data::Integers, executor, &implementations) {
            trials += usize::from(verdict.status != Status::Skipped);
            if verdict.status == Status::Failed {
                failures.push(verdict.to_string());
            }
        }
        executor.forget_kernels();
    }
    (failures, trials)
}

/// A geometry takes a kernel of its own for each pass and implementation, and kernels take long to compile: the axes one
/// by one, a seeded part of them.
#[test]
fn a_sample_of_the_small_geometries_is_right_on_the_gpu() {
    const TEST: &str = "a_sample_of_the_small_geometries_is_right_on_the_gpu";
    let Some(mut gpu) = common::gpu(TEST, ShaderChecks::Off) else { return };
    let sweep = Exhaustive::new();
    let (failures, trials) = failures(&sweep, sweep.sample_of_axes(10, 0).into_iter(), &mut gpu);
    assert_none(&failures, trials);
    println!("{trials} trials passed");
}

fn assert_none(failures: &[String], trials: usize) {
    let first = &failures[..failures.len().min(10)];
    assert!(failures.is_empty(), "{} of {trials} failed:\n{}", failures.len(), first.join("\n"));
}

#[test]
fn every_small_geometry_is_right_on_the_cpu() {
    const CHUNK: usize = 1000;
    let sweep = Exhaustive::new();
    let next = AtomicUsize::new(0);
    // A thread each: operations as small as these are not worth sharing out.
    let work = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        pool.install(|| {
            let mut executor = CpuExecutor::new();
            let (mut all, mut trials) = (Vec::new(), 0);
            loop {
                let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                let numbers = first..(first + CHUNK).min(sweep.len());
                if numbers.is_empty() {
                    return (all, trials);
                }
                let (failures, count) = failures(&sweep, numbers, &mut executor);
                all.extend(failures);
                trials += count;
            }
        })
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<(Vec<String>, usize)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that does not panic")).collect()
    });
    let failures: Vec<String> = results.iter().flat_map(|(failures, _)| failures.clone()).collect();
    let trials = results.iter().map(|(_, trials)| trials).sum();
    assert_none(&failures, trials);
    println!("{trials} trials of {} geometries passed", sweep.len());
}
