//! Launching `shaders/gemm`: products of matrices that need not exist in memory.

mod matrix_units;
mod product;
mod slices;
mod subgroup;
mod tiled;
mod tiling;

pub use matrix_units::MATRIX_UNITS;
pub use product::{Product, Quads, TiledKernel};
pub use slices::{LateSum, SumTable, adding, most_slices, slices};
pub use tiled::reads_of_a;
