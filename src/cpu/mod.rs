//! The building blocks of operations on the CPU: vectors, matrix products, scratch memory, sums in a fixed order. No
//! code here names an operation.

mod ahead;
mod dots;
mod elementwise;
mod exp;
mod gemm;
mod group_lanes;
mod outer;
mod panels;
mod rows;
mod scratch;
mod short_runs;
mod simd;
mod spread;
mod window_pairs;
mod window_sums;
mod windows;

pub use dots::multiply_by_transpose;
pub use elementwise::{map, zip_map};
pub use exp::exp;
pub use gemm::{Matrix, MatrixMut, multiply};
pub use outer::{Positions, add_outer_products};
pub use panels::{Bounds, Panels, Rows};
pub use rows::{add_rows, add_to_rows};
pub use scratch::{add_in_order, caught, with_scratch};
pub use simd::{lanes, load, load_mut, load_part, spare, store_part, vectorized};
pub use spread::Spread;
pub use windows::{ChannelFilters, Planes, WindowProduct, Windows, multiply_windows};
