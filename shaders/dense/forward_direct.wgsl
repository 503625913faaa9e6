// dense.forward, direct: every output value from its definition.
// output[n,o] = sum over i of input[n,i] * weight[o,i].
// An invocation owns one output value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/dense/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * OUT_FEATURES) {
        return;
    }
    let n = index / OUT_FEATURES;
    let o = index % OUT_FEATURES;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = output[index];
    }
    for (var i = FIRST_TERM; i < END_TERM; i++) {
        sum += input[n * IN_FEATURES + i] * weight[o * IN_FEATURES + i];
    }
    if (IS_LAST_PART) {
        sum = finish(o, sum);
    }
    output[index] = sum;
}
