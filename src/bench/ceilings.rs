//! The limits of a device: multiply-adds without memory accesses, and memory accesses without multiply-adds.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::BenchDevice;
use super::timing::{time, time_op};
use crate::Result;
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceKind;
use crate::ops::Op;
use crate::ops::ceilings::{CopyRate, FmaRate};

/// The rates that no kernel on the device can exceed, as far as they can be measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Floating-point operations per second in multiply-adds, in billions.
    pub gflops: f64,
    /// Bytes read and written per second by a copy, in billions.
    pub gigabytes: f64,
}

/// The ceiling that limits a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roof {
    /// The device's multiply-adds.
    Compute,
    /// The device's memory.
    Memory,
}

impl Roof {
    /// `compute` or `memory`.
    pub fn name(self) -> &'static str {
        match self {
            Roof::Compute => "compute",
            Roof::Memory => "memory",
        }
    }
}

impl Ceilings {
    /// Time for each of the two measurements.
    const BUDGET: Duration = Duration::from_millis(500);

    /// Measures a device; the fastest sample counts. On a CPU, multiply-adds are measured by a large matrix product.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    pub fn measure(device: &mut BenchDevice) -> Result<Ceilings> {
        // Far more than caches hold; software rasterisers compute slowly, and have a CPU's caches.
        let (invocations, bytes) = match device {
            BenchDevice::Cpu(_) => (0, 128 << 20),
            BenchDevice::Gpu(adapter, _) if adapter.profile().kind == DeviceKind::Software => {
                (1 << 14, 128 << 20)
            }
            BenchDevice::Gpu(..) => (1 << 20, 512 << 20),
        };
        let bytes = device.executor().max_buffer_bytes().min(bytes);
        let copy = CopyRate { elements: (bytes / 4) as usize };
        let fma = FmaRate { elements: invocations, rounds: 128 };
        let gflops = match device {
            BenchDevice::Cpu(_) => cpu_gflops()?,
            BenchDevice::Gpu(_, executor) => {
                let milliseconds = time_op(executor.as_mut(), &|| Box::new(fma), 1, Self::BUDGET)?.least;
                fma.flops() as f64 / milliseconds / 1e6
            }
        };
        let milliseconds = time_op(device.executor(), &|| Box::new(copy), 1, Self::BUDGET)?.least;
        Ok(Ceilings { gflops, gigabytes: 8.0 * copy.elements as f64 / milliseconds / 1e6 })
    }

    /// The least time in milliseconds that `flops` operations on `bytes` bytes can take, and the ceiling that limits
    /// them.
    pub fn roof(&self, flops: u64, bytes: u64) -> (f64, Roof) {
        let compute = flops as f64 / self.gflops / 1e6;
        let memory = bytes as f64 / self.gigabytes / 1e6;
        if compute >= memory { (compute, Roof::Compute) } else { (memory, Roof::Memory) }
    }
}

/// A product of square matrices; each thread computes a strip of rows.
fn cpu_gflops() -> Result<f64> {
    const SIZE: usize = 1536;
    let a = vec![0.5f32; SIZE * SIZE];
    let b = vec![0.25f32; SIZE * SIZE];
    let mut product = vec![0.0f32; SIZE * SIZE];
    let rows = SIZE.div_ceil(rayon::current_num_threads());
    let timing = time(Ceilings::BUDGET, |times| {
        let start = Instant::now();
        for _ in 0..times {
            product.par_chunks_mut(rows * SIZE).zip(a.par_chunks(rows * SIZE)).for_each(|(product, a)| {
                let rows = a.len() / SIZE;
                let product = MatrixMut::row_major(product, rows, SIZE);
                multiply(product, Matrix::row_major(a, rows, SIZE), Matrix::row_major(&b, SIZE, SIZE), false);
            });
        }
        Ok(start.elapsed())
    })?;
    Ok(2.0 * (SIZE as f64).powi(3) / timing.least / 1e6)
}
