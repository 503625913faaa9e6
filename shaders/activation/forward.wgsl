// activation.forward, direct: every element from its definition; the appended file defines activate(x).
// output[i] = activate(input[i]).
// An invocation owns TOGETHER elements, WORKGROUP_SIZE apart.
// Defined in src/ops/activation/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

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
        values[i] = activate(input[index]);
    }
    for (var i = 0u; i < TOGETHER; i++) {
        let index = first + i * WORKGROUP_SIZE;
        if (index < ELEMENTS) {
            output[index] = values[i];
        }
    }
}
