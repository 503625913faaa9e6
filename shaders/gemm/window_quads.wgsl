// The largest results of a window, four along n at a time: GEMM_N and every offset are multiples of four.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with the const line WINNERS_BINDING.

// [windows,PRODUCTS * GEMM_N]: the place of the largest in its window, below 4
@group(0) @binding(WINNERS_BINDING) var<storage, read_write> winners: array<vec4<u32>>;

fn store_window(part: u32, window: u32, n: u32, best: vec4<f32>, winner: vec4<u32>) {
    let index = ((window * PRODUCTS + part) * GEMM_N + n) / 4u;
    output[index] = best;
    winners[index] = winner;
}
