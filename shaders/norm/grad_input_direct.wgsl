// batch_norm.grad, direct, last launch: every element of the input's gradient from its definition.
// grad_input = weight * inverse * (gradient - grad_bias / rows - (input - mean) * inverse * grad_weight / rows),
// inverse = 1 / sqrt(variance * (rows - 1) / rows + epsilon).
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<f32>;

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
    let inverse = inverse_of_batch(variance[k]);
    let normalised = (input[index] - mean[k]) * inverse;
    let through_statistics = (grad_bias[k] + normalised * grad_weight[k]) / f32(ROWS);
    grad_input[index] = weight_of(k) * inverse * (gradient(index, normalised) - through_statistics);
}
