// add, direct: every element from its definition.
// sum[i] = a[i] + b[i].
// An invocation owns TOGETHER elements, WORKGROUP_SIZE apart.
// Defined in src/ops/add.rs.

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

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
        values[i] = a[index] + b[index];
    }
    for (var i = 0u; i < TOGETHER; i++) {
        let index = first + i * WORKGROUP_SIZE;
        if (index < ELEMENTS) {
            sum[index] = values[i];
        }
    }
}
