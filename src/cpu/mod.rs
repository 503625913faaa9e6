//! Running on the CPU: scratch memory, matrix products, elementwise functions, sums in a fixed order. Names no op.

mod elementwise;
mod gemm;
mod scratch;

pub use elementwise::{map, zip_map};
pub use gemm::{Matrix, MatrixMut, multiply};
pub use scratch::{add_in_order, with_scratch};
