// conv2d.grad_input, tiled: implicit GEMM, the windows that saw a position times the filters; appended to gemm/tiled.wgsl.
// grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c], with m = (n,h,w), n = c, k = (r,s,k); a part is a group.
// An invocation owns THREAD_M positions x THREAD_N channels of the input.
// Defined in src/ops/conv/grad_input.rs.

@group(0) @binding(0) var<storage, read> filters: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = false;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    let s = k / GROUP_OUT_CHANNELS % KERNEL_WIDTH;
    let r = k / (GROUP_OUT_CHANNELS * KERNEL_WIDTH);
    let w = m % IN_WIDTH;
    let h = m / IN_WIDTH % IN_HEIGHT;
    let n = m / (IN_WIDTH * IN_HEIGHT);
    let p = output_row(h, r);
    let q = output_column(w, s);
    if (p >= OUT_HEIGHT || q >= OUT_WIDTH) {
        return 0.0;
    }
    return grad_output[output_index(n, p, q, group * GROUP_OUT_CHANNELS + k % GROUP_OUT_CHANNELS)];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    let s = k / GROUP_OUT_CHANNELS % KERNEL_WIDTH;
    let r = k / (GROUP_OUT_CHANNELS * KERNEL_WIDTH);
    return filters[filters_index(group * GROUP_OUT_CHANNELS + k % GROUP_OUT_CHANNELS, r, s, n)];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    grad_input[m * IN_CHANNELS + group * GROUP_IN_CHANNELS + n] = value;
}
