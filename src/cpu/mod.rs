//! Running on the CPU: scratch memory, matrix products, sums in a fixed order. Names no op.

mod executor;
mod gemm;
mod scratch;

pub use executor::CpuExecutor;
pub use gemm::{Matrix, MatrixMut, multiply};
pub use scratch::{add_in_order, with_scratch};
