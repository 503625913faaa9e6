// Results of a matrix product, one at a time: for a GEMM_N that is not a multiple of four.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs.

alias ResultPacket = f32;
alias ResultPlaces = u32;
const RESULT_WIDTH: u32 = 1u;

fn store_four(part: u32, slice: u32, m: u32, n: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u && n + j < GEMM_N; j++) {
        store(part, slice, m, n + j, values[j]);
    }
}
