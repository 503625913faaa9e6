// dense.forward, tiled: the input times the weight transposed; appended to gemm/tiled.wgsl.
// output[n,o] = sum over i of input[n,i] * weight[o,i], with GEMM's (m, n, k) = (n, o, i) and one part.
// An invocation owns THREAD_M samples x THREAD_N features of the output in one slice of the sum; gemm/sum_slices.wgsl adds the slices.
// Defined in src/ops/dense/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
// [SLICES,N,O]
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = true;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    return input[m * IN_FEATURES + k];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    return weight[n * IN_FEATURES + k];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    output[(slice * GEMM_M + m) * GEMM_N + n] = value;
}
