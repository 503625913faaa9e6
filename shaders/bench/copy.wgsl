// Copy, direct: as many bytes in as out, and nothing to compute.
// result[i] = input[i].
// An invocation owns one element; a workgroup owns 64 that follow one another in memory.
// Defined in src/bench/ceilings.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

override ELEMENTS: u32;

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
    result[index] = input[index];
}
