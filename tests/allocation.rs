//! A training step on the CPU takes no memory once the first ones have shown what it needs, but for the few hundred bytes
//! in which the `gemm` crate keeps count of each matrix product.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wgconv::data;
use wgconv::host::CpuExecutor;
use wgconv::layers::Conv2d;
use wgconv::network::Network;
use wgconv::ops::window::Padding;
use wgconv::train::{TrainSettings, Trainer};

/// The system's allocator, which counts calls and bytes.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    CALLS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as this function's caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as this function's caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as this function's caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls and bytes while `work` runs.
fn counted(work: impl FnOnce()) -> [usize; 2] {
    let counts = || [CALLS.load(Relaxed), BYTES.load(Relaxed)];
    let before = counts();
    work();
    let after = counts();
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_step_takes_no_memory() {
    const STEPS: usize = 20;
    let data = data::load("synthetic", 0).unwrap();
    let conv = |filters, kernel| Conv2d::new(filters, [kernel, kernel]);
    // A first layer, Winograd's convolution, a depthwise one, and a pointwise one.
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
    // Which thread does which piece of a step is chance, and each keeps its own scratch memory, so that it may take some
    // steps until all have what they need.
    let settled = (0..50).any(|_| {
        let [calls, bytes] = counted(|| executor.run(prepared, STEPS).unwrap());
        println!("{STEPS} steps: {calls} allocations, {bytes} bytes");
        // Two products through the crate: the gradients of the dense layer. And once for all steps, the forms of the
        // plan's operations and a copy of its bookkeeping.
        calls <= 6 * STEPS + 4 * plan.steps().count() && bytes <= 2_000 * STEPS + 12_000
    });
    assert!(settled, "every step takes memory");
    assert!(counted(|| drop(std::hint::black_box(vec![0u8; 1000])))[1] >= 1000, "the allocator counts");
}
