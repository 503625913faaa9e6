//! Running on the CPU: scratch memory, matrix products, sums in a fixed order. Names no op.

mod gemm;
mod scratch;

pub use gemm::{Matrix, MatrixMut, multiply};
pub use scratch::{add_in_order, with_scratch};
