// Results of a matrix product, four along n at a time: GEMM_N and every offset are multiples of four.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs.

alias ResultPacket = vec4<f32>;
alias ResultPlaces = vec4<u32>;
const RESULT_WIDTH: u32 = 4u;

fn store_four(part: u32, slice: u32, m: u32, n: u32, values: vec4<f32>) {
    store(part, slice, m, n, values);
}
