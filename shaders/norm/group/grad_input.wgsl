// group_norm.grad_input, direct: every element from its definition.
// grad_input = inverse * (weight * grad_output - grad_sum / count - (input - mean) * inverse * grad_product / count), with
// inverse = 1 / sqrt(variance + epsilon).
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/group/grad_input.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> grad_sum: array<f32>;
@group(0) @binding(5) var<storage, read> grad_product: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_input: array<f32>;

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
    let segment = segment_of(index);
    let inverse = inverse_deviation(variance[segment]);
    let normalised = (input[index] - mean[segment]) * inverse;
    let through_statistics = (grad_sum[segment] + normalised * grad_product[segment]) / f32(COUNT);
    grad_input[index] = inverse * (weight_of(index % CHANNELS) * grad_output[index] - through_statistics);
}
