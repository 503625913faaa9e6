// dense.grad_input, tiled: grad_output times the weight; appended to gemm/tiled.wgsl.
// grad_input[n,i] = sum over o of grad_output[n,o] * weight[o,i], with GEMM's (m, n, k) = (n, i, o) and one part.
// An invocation owns THREAD_M samples x THREAD_N features of the input in one slice of the sum; gemm/sum_slices.wgsl adds the slices.
// Defined in src/ops/dense/grad_input.rs.

@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
// [SLICES,N,I]
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = false;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    return grad_output[m * OUT_FEATURES + k];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    return weight[k * IN_FEATURES + n];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    grad_input[(slice * GEMM_M + m) * GEMM_N + n] = value;
}
