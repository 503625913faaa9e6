// Second pass of a split sum: result[i] = finish(sum over slices of slices[slice][i]), in the order of slices.
// The fixed order gives the same bits for the same data. An appended file says how results are stored.
// An invocation owns one result; a workgroup owns 64 consecutive ones.
// Launched by src/ops/gemm/slices.rs.

@group(0) @binding(0) var<storage, read> slices: array<f32>;

alias ResultPacket = f32;
alias ResultPlaces = u32;
const RESULT_WIDTH: u32 = 1u;

override ELEMENTS: u32;
// Number of channels of a result [..,CHANNELS].
override CHANNELS: u32;
override SLICES: u32;

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
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += slices[slice * ELEMENTS + index];
    }
    store_result(index, finish(index % CHANNELS, sum));
}
