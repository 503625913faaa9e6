// conv2d.grad_filters, direct: every weight's gradient from its definition.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns one weight in one slice of the positions; a workgroup owns 64 consecutive ones.
// Defined in src/ops/conv/grad_filters.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
// [SLICES,K,R,S,C/groups]; if there are several slices, gemm/slice_lanes.wgsl adds them.
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

override SLICES: u32;
// Number of positions (n,p,q) in a slice.
override SLICE_K: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let weights = OUT_CHANNELS * KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_IN_CHANNELS;
    if (index >= SLICES * weights) {
        return;
    }
    let slice = index / weights;
    let weight = index % weights;
    let c = weight % GROUP_IN_CHANNELS;
    let s = weight / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = weight / (GROUP_IN_CHANNELS * KERNEL_WIDTH) % KERNEL_HEIGHT;
    let k = weight / (GROUP_IN_CHANNELS * KERNEL_WIDTH * KERNEL_HEIGHT);
    let in_channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS + c;
    let first = slice * SLICE_K + FIRST_TERM;
    let end = min(slice * SLICE_K + END_TERM, BATCH_SIZE * OUT_HEIGHT * OUT_WIDTH);
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = grad_filters[index];
    }
    for (var position = first; position < end; position++) {
        let q = position % OUT_WIDTH;
        let p = position / OUT_WIDTH % OUT_HEIGHT;
        let n = position / (OUT_WIDTH * OUT_HEIGHT);
        let h = input_row(p, r);
        let w = input_column(q, s);
        if (h < IN_HEIGHT && w < IN_WIDTH) {
            sum += grad_output_at(position * OUT_CHANNELS + k) * input[input_index(n, h, w, in_channel)];
        }
    }
    grad_filters[index] = sum;
}
