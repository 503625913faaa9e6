//! Launching `shaders/gemm`: matrix products, whatever the matrices are made of.

mod product;
mod slices;
mod subgroup;
mod tiled;

pub use product::{Product, Quads, TiledKernel};
pub use slices::{in_slices, most_slices, slices};
pub use tiled::reads_of_a;
