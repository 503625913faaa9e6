// dense.grad_weight, direct: every weight's gradient from its definition.
// grad_weight[o,i] = sum over n of grad_output[n,o] * input[n,i].
// An invocation owns one weight; a workgroup owns 64 consecutive ones.
// Defined in src/ops/dense/grad_weight.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= OUT_FEATURES * IN_FEATURES) {
        return;
    }
    let o = index / IN_FEATURES;
    let i = index % IN_FEATURES;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = grad_weight[index];
    }
    for (var n = FIRST_TERM; n < END_TERM; n++) {
        sum += grad_output_at(n * OUT_FEATURES + o) * input[n * IN_FEATURES + i];
    }
    grad_weight[index] = sum;
}
