// bias.grad, direct: every channel's gradient from its definition.
// grad_bias[k] = sum over rows of grad_output[row,k].
// An invocation owns one channel; a workgroup owns 64 consecutive ones.
// Defined in src/ops/bias/grad.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_bias: array<f32>;

override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let k = global_index(workgroup, workgroups, invocation);
    if (k >= CHANNELS) {
        return;
    }
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = grad_bias[k];
    }
    for (var row = FIRST_TERM; row < END_TERM; row++) {
        sum += grad_output_at(row * CHANNELS + k);
    }
    grad_bias[k] = sum;
}
