// max_pool2d.forward of windows as large as the image.
// output[n,0,0,c] = max over h,w of input[n,h,w,c]; a NaN is the maximum.
// What an invocation and a workgroup own is said in pool/whole.wgsl.
// Defined in src/ops/pool/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place(workgroup_number(workgroup, workgroups), invocation);
    find_winners(place, invocation);
    if (place.exists && place.lane == 0u) {
        output[place.image * CHANNELS + place.channel] = lane_values[invocation];
    }
}
