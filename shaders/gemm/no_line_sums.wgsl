// No sums of the lines of a.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/gemm/product.rs.

const SUMS_LINES: bool = false;

fn store_line_sums(part: u32, slice: u32, m: u32, sums: vec4<f32>) {}
