//! Time on the device, work in several submissions, and a device that is lost.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgconv::device::DeviceKind;
use wgconv::gpu::{GpuExecutor, ShaderChecks};
use wgconv::host::CpuExecutor;
use wgconv::ops::HostBuffer;
use wgconv::ops::batch::Advance;
use wgconv::ops::conv::{ConvForward, ConvGeometry};
use wgconv::ops::window::WindowOptions;
use wgconv::plan::{Executor, Plan, Prepared, TimedBy, Workbench};
use wgconv::tensor::ImageShape;

fn convolution(executor: &mut dyn Executor) -> Prepared {
    let image = ImageShape { height: 28, width: 28, channels: 16 };
    let op = ConvForward::new(ConvGeometry::new(4, image, 16, 1, &WindowOptions::new([3, 3])).unwrap());
    executor.prepare(Arc::new(Plan::of_op(Box::new(op)))).unwrap()
}

/// The executor's time for a number of runs, large enough to take at least 200 ms, and the host's time around them.
fn times(executor: &mut dyn Workbench, prepared: Prepared) -> [Duration; 2] {
    executor.time(prepared, 1).unwrap();
    let mut runs = 1;
    loop {
        let start = Instant::now();
        let time = executor.time(prepared, runs).unwrap();
        let on_host = start.elapsed();
        if on_host >= Duration::from_millis(200) {
            return [time, on_host];
        }
        runs *= 2;
    }
}

#[test]
fn the_devices_time_lies_within_the_hosts() {
    const TEST: &str = "the_devices_time_lies_within_the_hosts";
    let Some(adapter) = common::adapter(TEST) else { return };
    let mut gpu = GpuExecutor::open(&adapter).unwrap();
    let prepared = convolution(&mut gpu);
    let [on_device, on_host] = times(&mut gpu, prepared);
    assert!(on_device > Duration::ZERO && on_device <= on_host, "{on_device:?} of {on_host:?}");
    assert!(on_device * 10 > on_host, "{on_device:?} of {on_host:?}");
    let has_timestamps = adapter.features().contains(&("timestamps", true));
    if adapter.profile().kind == DeviceKind::Software && has_timestamps {
        assert_eq!(gpu.timed_by(), TimedBy::GpuTimestamps);
    }

    // Several submissions, all of which count, from the first to the last.
    let start = Instant::now();
    gpu.time(prepared, 3).unwrap();
    let few = gpu.time(prepared, 3).unwrap();
    let many = gpu.time(prepared, 30).unwrap();
    assert!(few < many && many <= start.elapsed(), "{few:?}, {many:?}");
    assert_eq!(gpu.time(prepared, 0).unwrap(), Duration::ZERO);
}

#[test]
fn without_timestamps_the_hosts_clock_counts() {
    let mut cpu = CpuExecutor::new();
    let prepared = convolution(&mut cpu);
    let [time, on_host] = times(&mut cpu, prepared);
    assert!(time > Duration::ZERO && time <= on_host && 2 * time > on_host, "{time:?} of {on_host:?}");
    assert_eq!(cpu.timed_by(), TimedBy::HostClock);
    assert_eq!(
        (TimedBy::HostClock.to_string(), TimedBy::GpuTimestamps.to_string()),
        ("host clock".into(), "gpu timestamps".into())
    );
}

#[test]
fn work_in_many_submissions_is_done_once_and_in_order() {
    const TEST: &str = "work_in_many_submissions_is_done_once_and_in_order";
    let Some(mut gpu) = common::gpu(TEST, ShaderChecks::Off) else { return };
    // More launches than fit in one submission.
    const RUNS: usize = 20_000;
    let plan = Arc::new(Plan::of_op(Box::new(Advance { steps: 2 * RUNS })));
    let prepared = gpu.prepare(plan.clone()).unwrap();
    let counter = plan.expect("counter");
    let step = |gpu: &mut GpuExecutor| gpu.read(prepared, counter).unwrap().indices()[0];
    gpu.write(prepared, counter, &HostBuffer::index(vec![0])).unwrap();
    gpu.run(prepared, RUNS).unwrap();
    assert_eq!(step(&mut gpu), RUNS as u32);
    let start = Instant::now();
    let time = gpu.time(prepared, RUNS / 2).unwrap();
    assert!(time > Duration::ZERO && time <= start.elapsed());
    assert_eq!(step(&mut gpu), 3 * RUNS as u32 / 2);
}
