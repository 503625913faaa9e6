//! What the device could do at best: multiply-adds without memory, and memory without multiply-adds.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::BenchDevice;
use super::timing::{time, time_op};
use crate::Result;
use crate::cpu::{Matrix, MatrixMut, map, multiply};
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// The rates that no kernel on the device exceeds, as far as it can be measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Floating-point operations a second in multiply-adds, in billions.
    pub gflops: f64,
    /// Bytes a second read and written by a copy, in billions.
    pub gigabytes: f64,
}

/// The ceiling that stands lower over a piece of work.
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

    /// Measures a device; the fastest sample counts. On the CPU the multiply-adds are those of a large matrix product.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    pub fn measure(device: &mut BenchDevice) -> Result<Ceilings> {
        // Far beyond what caches hold; software rasterisers compute slowly, and have a CPU's caches.
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

    /// The least time that `flops` operations on `bytes` bytes can take, in milliseconds, and the reason.
    pub fn roof(&self, flops: u64, bytes: u64) -> (f64, Roof) {
        let compute = flops as f64 / self.gflops / 1e6;
        let memory = bytes as f64 / self.gigabytes / 1e6;
        if compute >= memory { (compute, Roof::Compute) } else { (memory, Roof::Memory) }
    }
}

/// A product of square matrices, a strip of rows a thread.
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

/// Copies a tensor: the device's memory and nothing else.
///
/// `result[i] = input[i]`
///
/// # Shapes
/// input -> result, both `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRate {
    /// Elements of each tensor.
    pub elements: usize,
}

impl CopyRate {
    /// Elements that an invocation copies, so that the price of starting it weighs little.
    const ELEMENTS_EACH: usize = 16;
}

impl Op for CopyRate {
    fn name(&self) -> &'static str {
        "bench.copy"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("result", [self.elements])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, result] = operands.all();
        for (result, input) in result.reals_mut().iter_mut().zip(input.reals()) {
            *result = *input;
        }
    }

    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let [input, result] = operands.all();
        map(result.reals_mut(), input.reals(), |value| value);
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ELEMENTS", self.elements.into())];
        let source = shader!("bench/copy.wgsl", "grid.wgsl");
        let source = source.with_sizes(&[("ELEMENTS_EACH", Self::ELEMENTS_EACH as u32)]);
        let invocations = self.elements.div_ceil(Self::ELEMENTS_EACH);
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, invocations))]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}

/// Multiplies and adds in registers: the device's arithmetic and nothing else.
///
/// `result[i]` is the mean over 16 chains of `x`, where `x` starts as the chain's number, 0 to 15, and
/// `4*rounds` times becomes `x/2 + input[i]`.
///
/// # Shapes
/// input -> result, both `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FmaRate {
    /// Elements of each tensor.
    pub elements: usize,
    /// Quarter of the length of a chain.
    pub rounds: usize,
}

impl FmaRate {
    const CHAINS: usize = 16;
    const STEPS: usize = 4;
}

impl Op for FmaRate {
    fn name(&self) -> &'static str {
        "bench.fma"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("result", [self.elements])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, result] = operands.all();
        for (result, input) in result.reals_mut().iter_mut().zip(input.reals()) {
            let mut sum = 0.0;
            for chain in 0..Self::CHAINS {
                let mut x = chain as f64;
                for _ in 0..Self::STEPS * self.rounds {
                    x = x / 2.0 + input;
                }
                sum += x;
            }
            *result = sum / Self::CHAINS as f64;
        }
    }

    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let [input, result] = operands.all();
        map(result.reals_mut(), input.reals(), |input| {
            let mut chains: [f32; Self::CHAINS] = std::array::from_fn(|chain| chain as f32);
            for _ in 0..Self::STEPS * self.rounds {
                chains = chains.map(|x| x * 0.5 + input);
            }
            chains.iter().sum::<f32>() / Self::CHAINS as f32
        });
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ELEMENTS", self.elements.into()), ("ROUNDS", self.rounds.into())];
        let source = shader!("bench/fma.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, self.elements))]
    }

    fn flops(&self) -> u64 {
        (2 * Self::CHAINS * Self::STEPS * self.rounds * self.elements) as u64
    }

    fn precision(&self) -> Precision {
        // Halving forgets what was rounded earlier, however long the chain: the sum of the last few steps
        // and of the chains' starts is all that errs.
        Precision { exact_on_integers: false, ..Precision::sum_of_products(2 * Self::CHAINS) }
    }
}
