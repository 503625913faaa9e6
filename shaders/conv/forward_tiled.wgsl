// conv2d.forward, tiled: implicit GEMM, the patches of the input times the filters; appended to gemm/tiled.wgsl.
// output[n,p,q,k] = sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c], with m = (n,p,q), n = k, k = (r,s,c); a part is a group.
// An invocation owns THREAD_M positions x THREAD_N channels of the output.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> filters: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = true;

fn load_a(group: u32, m: u32, k: u32) -> f32 {
    let c = k % GROUP_IN_CHANNELS;
    let s = k / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = k / (GROUP_IN_CHANNELS * KERNEL_WIDTH);
    let q = m % OUT_WIDTH;
    let p = m / OUT_WIDTH % OUT_HEIGHT;
    let n = m / (OUT_WIDTH * OUT_HEIGHT);
    let h = input_row(p, r);
    let w = input_column(q, s);
    if (h >= IN_HEIGHT || w >= IN_WIDTH) {
        return 0.0;
    }
    return input[input_index(n, h, w, group * GROUP_IN_CHANNELS + c)];
}

fn load_b(group: u32, k: u32, n: u32) -> f32 {
    return filters[(group * GROUP_OUT_CHANNELS + n) * GEMM_K + k];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: f32) {
    output[m * OUT_CHANNELS + group * GROUP_OUT_CHANNELS + n] = value;
}
