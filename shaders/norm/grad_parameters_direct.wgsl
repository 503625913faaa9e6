// batch_norm.grad, direct: every channel's gradients from their definition.
// grad_weight[k] = sum over rows of gradient[row,k] * (input[row,k] - mean[k]) / sqrt(variance[k] * (rows - 1) / rows + epsilon);
// grad_bias[k] = sum over rows of gradient[row,k].
// An invocation owns one channel; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_bias: array<f32>;

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
    let inverse = inverse_of_batch(variance[k]);
    var sums = vec2(0.0, 0.0);
    if (!IS_FIRST_PART) {
        sums = vec2(grad_weight[k], grad_bias[k]);
    }
    for (var row = FIRST_TERM; row < END_TERM; row++) {
        let index = row * CHANNELS + k;
        let normalised = (input[index] - mean[k]) * inverse;
        sums += gradient(index, normalised) * vec2(normalised, 1.0);
    }
    grad_weight[k] = sums.x;
    grad_bias[k] = sums.y;
}
