// conv2d.grad_filters, tiled: implicit GEMM, grad_output transposed times the patches of the input; appended to gemm/tiled.wgsl.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c], with m = k, n = (r,s,c), k = (n,p,q); a part is a group.
// An invocation owns THREAD_M filters x THREAD_N taps in one slice of the positions; gemm/sum_slices.wgsl adds the slices.
// Defined in src/ops/conv/grad_filters.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
// [SLICES,K,R,S,C/groups]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

const A_CONTIGUOUS_IN_K: bool = false;
const B_CONTIGUOUS_IN_K: bool = false;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    return grad_output[k * OUT_CHANNELS + group * GROUP_OUT_CHANNELS + m];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    let c = n % GROUP_IN_CHANNELS;
    let s = n / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = n / (GROUP_IN_CHANNELS * KERNEL_WIDTH);
    let q = k % OUT_WIDTH;
    let p = k / OUT_WIDTH % OUT_HEIGHT;
    let image = k / (OUT_WIDTH * OUT_HEIGHT);
    let h = input_row(p, r);
    let w = input_column(q, s);
    if (h >= IN_HEIGHT || w >= IN_WIDTH) {
        return 0.0;
    }
    return input[input_index(image, h, w, group * GROUP_IN_CHANNELS + c)];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    grad_filters[(slice * OUT_CHANNELS + group * GROUP_OUT_CHANNELS + m) * GEMM_N + n] = value;
}
