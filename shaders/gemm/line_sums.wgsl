// Sums of the lines of a over k, beside the product: where a line is a channel of the output's gradient, they are the
// gradient of the bias.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with the const line LINE_SUMS_BINDING.

// [SLICES,PRODUCTS,GEMM_M]
@group(0) @binding(LINE_SUMS_BINDING) var<storage, read_write> grad_bias: array<f32>;

const SUMS_LINES: bool = true;

fn store_line_sums(part: u32, slice: u32, m: u32, sums: vec4<f32>) {
    for (var i = 0u; i < 4u && m + i < GEMM_M; i++) {
        grad_bias[(slice * PRODUCTS + part) * GEMM_M + m + i] = sums[i];
    }
}
