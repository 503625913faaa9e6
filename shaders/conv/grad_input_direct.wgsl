// conv2d.grad_input, direct: every input value's gradient, gathered from the windows that contain it.
// grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c], where p*stride = h + padding - r*dilation.
// An invocation owns one input value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/conv/grad_input.rs.

@group(0) @binding(0) var<storage, read> filters: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * IN_HEIGHT * IN_WIDTH * IN_CHANNELS) {
        return;
    }
    let in_channel = index % IN_CHANNELS;
    let w = index / IN_CHANNELS % IN_WIDTH;
    let h = index / (IN_CHANNELS * IN_WIDTH) % IN_HEIGHT;
    let n = index / (IN_CHANNELS * IN_WIDTH * IN_HEIGHT);
    let c = in_channel % GROUP_IN_CHANNELS;
    let first_filter = in_channel / GROUP_IN_CHANNELS * GROUP_OUT_CHANNELS;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = grad_input[index];
    }
    for (var r = FIRST_R; r < END_R; r++) {
        let p = output_row(h, r);
        if (p >= OUT_HEIGHT) {
            continue;
        }
        for (var s = FIRST_S; s < END_S; s++) {
            let q = output_column(w, s);
            if (q >= OUT_WIDTH) {
                continue;
            }
            for (var k = first_filter + FIRST_TERM; k < first_filter + END_TERM; k++) {
                sum += grad_output_at(output_index(n, p, q, k)) * filters[filters_index(k, r, s, c)];
            }
        }
    }
    grad_input[index] = sum;
}
