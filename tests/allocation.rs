//! A training step on the CPU allocates no memory once the first steps have allocated what is needed, except for the
//! few hundred bytes of bookkeeping that the `gemm` crate allocates for each matrix product.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wgconv::data;
use wgconv::host::CpuExecutor;
use wgconv::layers::Conv2d;
use wgconv::network::Network;
use wgconv::ops::window::Padding;
use wgconv::train::{TrainSettings, Trainer};

/// The system's allocator with a count of calls and bytes.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    CALLS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes, Relaxed);
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as guaranteed by this function's caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as guaranteed by this function's caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as guaranteed by this function's caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocator calls and allocated bytes while `work` runs.
fn counted(work: impl FnOnce()) -> [usize; 2] {
    let counts = || [CALLS.load(Relaxed), BYTES.load(Relaxed)];
    let before = counts();
    work();
    let after = counts();
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_step_allocates_no_memory() {
    const STEPS: usize = 20;
    let data = data::load("synthetic", &data::LoadOptions::default()).unwrap();
    let conv = |filters, kernel| Conv2d::new(filters, [kernel, kernel]);
    // A first layer, and a Winograd, a depthwise and a pointwise convolution.
    let network = Network::builder("every form", data.train.image)
        .conv2d(conv(32, 5).padding(Padding::Same))
        .relu()
        .max_pool(2)
        .conv2d(conv(32, 3).padding(Padding::Same))
        .relu()
        .conv2d(conv(32, 3).groups(32))
        .relu()
        .conv2d(conv(48, 1))
        .relu()
        .average_pool(2)
        .flatten()
        .dense(10)
        .build()
        .unwrap();
    let settings = TrainSettings { batch_size: 16, ..TrainSettings::default() };
    let mut trainer = Trainer::new(Box::new(CpuExecutor::new()), network, &data, settings).unwrap();
    trainer.start_epoch().unwrap();
    let (mut executor, plan, prepared) = trainer.into_parts();
    // Which thread runs which piece of a step is random, and each thread keeps its own scratch memory, so that it may
    // take several steps until every thread has enough.
    let settled = (0..50).any(|_| {
        let [calls, bytes] = counted(|| executor.run(prepared, STEPS).unwrap());
        println!("{STEPS} steps: {calls} allocations, {bytes} bytes");
        // Each step has two products through the crate, the gradients of the dense layer; each run makes the forms of the
        // plan's operations and copies its bookkeeping.
        calls <= 6 * STEPS + 3 * plan.steps().count() && bytes <= 2_000 * STEPS + 12_000
    });
    assert!(settled, "every step takes memory");
    assert!(counted(|| drop(std::hint::black_box(vec![0u8; 1000])))[1] >= 1000, "the allocator counts");
}
