// The largest results of a window, one at a time: for a GEMM_N that is not a multiple of four.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with the const line WINNERS_BINDING.

// [windows,PRODUCTS * GEMM_N]: the place of the largest in its window, below 4
@group(0) @binding(WINNERS_BINDING) var<storage, read_write> winners: array<u32>;

fn store_window(part: u32, window: u32, n: u32, best: vec4<f32>, winner: vec4<u32>) {
    for (var j = 0u; j < 4u && n + j < GEMM_N; j++) {
        let index = (window * PRODUCTS + part) * GEMM_N + n + j;
        output[index] = best[j];
        winners[index] = winner[j];
    }
}
