// The update of all parameters, some of whose gradients are yet to be added from slices: gradient[i] = sum over slices of
// slices[slice][i], which is stored, too.
// A workgroup owns a row of the table: INVOCATIONS / lanes results of a sum, as gemm/slice_lanes.wgsl says, or, where the count of
// slices is zero, INVOCATIONS quads of a gradient that is complete. An invocation owns at most four consecutive values.
// Appended to optimizer/update.wgsl by src/ops/optimizer/update.rs, with the const lines SLICES_BINDING and TABLE_BINDING.

@group(0) @binding(1) var<storage, read_write> gradient: array<vec4<f32>>;
// Those of all sums.
@group(0) @binding(SLICES_BINDING) var<storage, read> slices: array<f32>;
@group(0) @binding(TABLE_BINDING) var<storage, read> table: array<SliceSum>;

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
    let sum = table[number];
    var quads = INVOCATIONS;
    if (sum.count > 0u) {
        add_lanes(sum, invocation);
        workgroupBarrier();
        quads = INVOCATIONS / sum.lanes / 4u;
    }
    let first = sum.first + 4u * invocation;
    if (invocation >= quads || first >= sum.elements) {
        return;
    }
    let index = (sum.first_result + first) / 4u;
    if (sum.count > 0u) {
        let i = 4u * invocation;
        gradient[index] = vec4(lane_sums[i], lane_sums[i + 1u], lane_sums[i + 2u], lane_sums[i + 3u]);
    }
    update_quad(index, gradient[index]);
}
