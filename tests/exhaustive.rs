//! Every small geometry, with degenerate axes in pairs, gives the definition's answer, exactly so on integers where an
//! operation can be exact: all of them in every pass and form on the CPU, and a sample in every implementation on the GPU.
//! Convolutions have one number of groups for each geometry, in turn, so that each axis has each of them with other partners;
//! `wgconv verify --exhaustive` has them all.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use wgconv::gpu::{GpuExecutor, ShaderChecks};
use wgconv::host::CpuExecutor;
use wgconv::plan::Workbench;
use wgconv::verify::cases::Case;
use wgconv::verify::{Data, Exhaustive, Status, verify};

/// The outcome: failures, and the number of trials.
#[derive(Default)]
struct Found {
    failures: Vec<String>,
    trials: usize,
}

impl Found {
    /// Verifies cases on integers, or on reals where an operation is exact on none, such as an average of three values.
    fn verify(&mut self, cases: impl IntoIterator<Item = Case>, executor: &mut dyn Workbench) {
        for case in cases {
            let implementations = executor.implementations(case.op.as_ref());
            let data = if case.op.precision().exact_on_integers { Data::Integers } else { Data::Reals };
            for verdict in verify(case, data, executor, &implementations) {
                self.trials += usize::from(verdict.status != Status::Skipped);
                if verdict.status == Status::Failed {
                    self.failures.push(verdict.to_string());
                }
            }
            executor.forget_kernels();
        }
    }
}

/// Calls `work` for every chunk of `length` numbers below `count`, on one thread per core, each with an executor of its
/// own: operations as small as these are not worth splitting. Asserts that no trial has failed.
fn on_all_cores<E: Workbench + Send>(
    count: usize,
    length: usize,
    open: impl Fn() -> E + Sync,
    work: impl Fn(std::ops::Range<usize>, &mut E, &mut Found) + Sync,
) {
    let next = AtomicUsize::new(0);
    let worker = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let (mut executor, mut found) = (open(), Found::default());
        loop {
            let first = next.fetch_add(length, Ordering::Relaxed);
            if first >= count {
                return found;
            }
            let numbers = first..count.min(first + length);
            pool.install(|| work(numbers, &mut executor, &mut found));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Found> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker that does not panic")).collect()
    });
    let trials: usize = all.iter().map(|found| found.trials).sum();
    let failures: Vec<String> = all.into_iter().flat_map(|found| found.failures).collect();
    let first = &failures[..failures.len().min(10)];
    assert!(failures.is_empty(), "{} of {trials} failed:\n{}", failures.len(), first.join("\n"));
    assert!(trials >= count);
    println!("{trials} trials of {count} geometries passed");
}

/// The passes of a convolution, and the numbers of groups of a geometry, in the order of its cases.
const PASSES: usize = 3;
const GROUPS: usize = 3;

/// The cases of a geometry with one number of groups, and with the wide channels that it may have beside them.
fn with_groups_in_turn(sweep: &Exhaustive, number: usize) -> impl Iterator<Item = Case> {
    let cases = sweep.cases(number).into_iter().enumerate();
    let is_wanted = move |(position, case): &(usize, Case)| {
        let channels = position / PASSES;
        !case.op.name().starts_with("conv2d") || channels >= GROUPS || channels == number % GROUPS
    };
    cases.filter(is_wanted).map(|(_, case)| case)
}

#[test]
fn every_small_geometry_is_right_on_the_cpu() {
    let sweep = Exhaustive::new();
    on_all_cores(sweep.len(), 1000, CpuExecutor::new, |numbers, executor, found| {
        numbers.for_each(|number| found.verify(with_groups_in_turn(&sweep, number), executor));
    });
}

/// Every geometry needs kernels of its own, which take long to compile: hence one axis in thirty.
#[test]
fn a_sample_of_the_axes_is_right_on_the_gpu() {
    let Some(adapter) = common::adapter("a_sample_of_the_axes_is_right_on_the_gpu") else { return };
    let open = || GpuExecutor::open(&adapter).expect("an adapter that opens").with_checks(ShaderChecks::Off);
    let sweep = Exhaustive::new();
    let sample = sweep.sample_of_axes(30, 0);
    on_all_cores(sample.len(), 1, open, |numbers, executor, found| {
        for number in sample[numbers].iter().copied() {
            found.verify(with_groups_in_turn(&sweep, number), executor);
        }
    });
}
