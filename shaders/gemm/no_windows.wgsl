// Every row of results is stored.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/gemm/product.rs.

const REDUCES_WINDOWS: bool = false;

fn store_windows(sums: ptr<function, Sums>, part: u32, first_m: u32, first_n: u32, thread_m: u32, thread_n: u32) {}
