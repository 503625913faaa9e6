// dense.grad_weight, tiled: grad_output transposed times the input; appended to gemm/tiled.wgsl.
// grad_weight[o,i] = sum over n of grad_output[n,o] * input[n,i], with GEMM's (m, n, k) = (o, i, n) and one part.
// An invocation owns THREAD_M x THREAD_N weights in one slice of the sum; gemm/sum_slices.wgsl adds the slices.
// Defined in src/ops/dense/grad_weight.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
// [SLICES,O,I]
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;

const A_CONTIGUOUS_IN_K: bool = false;
const B_CONTIGUOUS_IN_K: bool = false;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    return grad_output[k * OUT_FEATURES + m];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    return input[k * IN_FEATURES + n];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    grad_weight[(slice * GEMM_M + m) * GEMM_N + n] = value;
}
