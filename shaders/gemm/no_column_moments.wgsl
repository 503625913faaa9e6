// No moments of the columns of a tile.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/gemm/product.rs.

const TAKES_MOMENTS: bool = false;

fn store_moments(sums: ptr<function, Sums>, part: u32, first_m: u32, first_n: u32, thread_m: u32, thread_n: u32) {}
