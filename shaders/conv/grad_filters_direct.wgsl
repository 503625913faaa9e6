// conv2d.grad_filters, direct: every weight's gradient from its definition.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns one weight; a workgroup owns 64 that follow one another in memory.
// Defined in src/ops/conv/grad_filters.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= OUT_CHANNELS * KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_IN_CHANNELS) {
        return;
    }
    let c = index % GROUP_IN_CHANNELS;
    let s = index / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = index / (GROUP_IN_CHANNELS * KERNEL_WIDTH) % KERNEL_HEIGHT;
    let k = index / (GROUP_IN_CHANNELS * KERNEL_WIDTH * KERNEL_HEIGHT);
    let in_channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS + c;
    var sum = 0.0;
    for (var n = 0u; n < BATCH_SIZE; n++) {
        for (var p = 0u; p < OUT_HEIGHT; p++) {
            let h = input_row(p, r);
            if (h >= IN_HEIGHT) {
                continue;
            }
            for (var q = 0u; q < OUT_WIDTH; q++) {
                let w = input_column(q, s);
                if (w >= IN_WIDTH) {
                    continue;
                }
                sum += grad_output[output_index(n, p, q, k)] * input[input_index(n, h, w, in_channel)];
            }
        }
    }
    grad_filters[index] = sum;
}
