// average_pool2d.grad_input, direct: every input value's gradient, gathered from the windows that contain it.
// grad_input[n,h,w,c] = sum over r,s of grad_output[n,p,q,c] / taps, the number of taps as the appended file counts them,
// where p*stride = h + padding - r*dilation.
// An invocation owns one input value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/pool/grad.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_input: array<f32>;

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
    let c = index % IN_CHANNELS;
    let w = index / IN_CHANNELS % IN_WIDTH;
    let h = index / (IN_CHANNELS * IN_WIDTH) % IN_HEIGHT;
    let n = index / (IN_CHANNELS * IN_WIDTH * IN_HEIGHT);
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
            if (q < OUT_WIDTH) {
                sum += share(grad_output[output_index(n, p, q, c)], p, q);
            }
        }
    }
    if (IS_LAST_PART) {
        sum = total(sum);
    }
    grad_input[index] = sum;
}
