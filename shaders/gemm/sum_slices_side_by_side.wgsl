// Second pass of a sum in slices: result[i] = sum over slices of slices[slice][i].
// A workgroup owns INVOCATIONS / LANES results, as gemm/slice_lanes.wgsl says.
// Launched by src/ops/gemm/slices.rs, which also appends LANES as a const line.

@group(0) @binding(0) var<storage, read> slices: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

override ELEMENTS: u32;
override SLICES: u32;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = workgroup_number(workgroup, workgroups) * (INVOCATIONS / LANES);
    add_slices(SliceSum(0u, ELEMENTS, SLICES, LANES, 0u, first), invocation);
}
