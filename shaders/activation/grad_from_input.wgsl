// activation.grad from the activation's input, direct; the appended file defines derivative(input).
// grad_input[i] = grad_output[i] * derivative(input[i]).
// An invocation owns TOGETHER elements, WORKGROUP_SIZE apart.
// Defined in src/ops/activation/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

override ELEMENTS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = first_index(workgroup, workgroups, invocation);
    var values: array<f32, TOGETHER>;
    for (var i = 0u; i < TOGETHER; i++) {
        let index = min(first + i * WORKGROUP_SIZE, ELEMENTS - 1u);
        values[i] = grad_output[index] * derivative(input[index]);
    }
    for (var i = 0u; i < TOGETHER; i++) {
        let index = first + i * WORKGROUP_SIZE;
        if (index < ELEMENTS) {
            grad_input[index] = values[i];
        }
    }
}
