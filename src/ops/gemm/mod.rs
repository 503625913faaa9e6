//! Launching `shaders/gemm`: products of matrices that need not exist in memory.

mod product;
mod slices;
mod subgroup;
mod tiled;

pub use product::{Product, Quads, TiledKernel};
pub use slices::{SumTable, most_slices, slices};
pub use tiled::reads_of_a;
