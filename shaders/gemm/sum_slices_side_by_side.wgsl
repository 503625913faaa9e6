// Second pass of a sum in many slices: result[i] = sum over slices of slices[slice][i].
// The order depends only on the sizes, so that the same data give the same bits.
// An invocation owns one result in every LANES-th slice; a workgroup owns INVOCATIONS / LANES results that follow one
// another in memory, and adds its lanes as a tree.
// Launched by src/ops/conv/gpu/few_channels/tap_groups.rs, which also appends INVOCATIONS and LANES as const lines.

@group(0) @binding(0) var<storage, read> slices: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

override ELEMENTS: u32;
override SLICES: u32;

const WIDTH: u32 = INVOCATIONS / LANES;

var<workgroup> lane_sums: array<f32, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let lane = invocation / WIDTH;
    let index = workgroup_number(workgroup, workgroups) * WIDTH + invocation % WIDTH;
    var sum = 0.0;
    if (index < ELEMENTS) {
        for (var slice = lane; slice < SLICES; slice += LANES) {
            sum += slices[slice * ELEMENTS + index];
        }
    }
    lane_sums[invocation] = sum;
    for (var span = LANES / 2u; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (lane < span) {
            lane_sums[invocation] += lane_sums[invocation + span * WIDTH];
        }
    }
    if (lane == 0u && index < ELEMENTS) {
        result[index] = lane_sums[invocation];
    }
}
