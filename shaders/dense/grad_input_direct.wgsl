// dense.grad_input, direct: every input value's gradient from its definition.
// grad_input[n,i] = sum over o of grad_output[n,o] * weight[o,i].
// An invocation owns one input value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/dense/grad_input.rs.

@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * IN_FEATURES) {
        return;
    }
    let n = index / IN_FEATURES;
    let i = index % IN_FEATURES;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = grad_input[index];
    }
    for (var o = FIRST_TERM; o < END_TERM; o++) {
        sum += grad_output_at(n * OUT_FEATURES + o) * weight[o * IN_FEATURES + i];
    }
    grad_input[index] = sum;
}
