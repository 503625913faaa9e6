// batch_norm.grad, direct, first launch behind an activation: the gradient of every normalised value, from its definition.
// gradient[row,k] = grad_output[row,k] * derivative; the activation's input is
// (input[row,k] - mean[k]) * inverse[k] * weight[k] + bias[k], with inverse[k] = 1 / sqrt(variance[k] * (rows - 1) / rows + epsilon).
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;

override ROWS: u32;
override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= ROWS * CHANNELS) {
        return;
    }
    let k = index % CHANNELS;
    let normalised = (input[index] - mean[k]) * inverse_of_batch(variance[k]);
    keep(index, gradient(index, normalised * weight_of(k) + bias_of(k)));
}
