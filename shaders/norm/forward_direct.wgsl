// batch_norm.forward, direct, and the last launch of batch_norm.train, direct: every element from its definition.
// output[row,k] = (input[row,k] - mean[k]) / sqrt(variance[k] + epsilon) * weight[k] + bias[k].
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/forward.rs and src/ops/norm/train.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

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
    output[index] = finished(index, normalised * weight_of(k) + bias_of(k));
}
