// prelu.grad_input, direct: every element from its definition.
// grad_input[row,k] = grad_output[row,k] where input[row,k] is above 0, else weight[k] * grad_output[row,k].
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/prelu/grad_input.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

override ELEMENTS: u32;
override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= ELEMENTS) {
        return;
    }
    let grad = grad_output[index];
    grad_input[index] = select(weight[index % CHANNELS] * grad, grad, input[index] > 0.0);
}
