// Second passes of several sums in slices at once: of each, result[i] = sum over slices of slices[slice][i].
// A workgroup owns a row of the table, INVOCATIONS / lanes results of one sum, as gemm/slice_lanes.wgsl says.
// Launched by src/ops/gemm/slices.rs.

// Those of all sums.
@group(0) @binding(0) var<storage, read> slices: array<f32>;
@group(0) @binding(1) var<storage, read> table: array<SliceSum>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

override WORKGROUPS: u32;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = workgroup_number(workgroup, workgroups);
    if (number >= WORKGROUPS) {
        return;
    }
    add_slices(table[number], invocation);
}
