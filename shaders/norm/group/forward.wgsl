// group_norm.forward, direct: every element from its definition.
// output[n,row,k] = (input[n,row,k] - mean[n,g]) / sqrt(variance[n,g] + epsilon) * weight[k] + bias[k], for channel k of group
// g.
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/group/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= SAMPLES * ROWS * CHANNELS) {
        return;
    }
    let k = index % CHANNELS;
    let segment = segment_of(index);
    output[index] = (input[index] - mean[segment]) * inverse_deviation(variance[segment]) * weight_of(k) + bias_of(k);
}
