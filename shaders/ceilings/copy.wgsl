// Copy, direct: reads as many bytes as it writes, without any arithmetic.
// result[i] = input[i].
// A workgroup owns 64 * ELEMENTS_EACH consecutive elements, an invocation owns every 64th of them.
// Defined in src/ops/ceilings/copy.rs, which also appends ELEMENTS_EACH as a const line.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

override ELEMENTS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = workgroup_number(workgroup, workgroups) * ELEMENTS_EACH * WORKGROUP_SIZE + invocation;
    for (var i = 0u; i < ELEMENTS_EACH; i++) {
        let index = first + i * WORKGROUP_SIZE;
        if (index < ELEMENTS) {
            result[index] = input[index];
        }
    }
}
