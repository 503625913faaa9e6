// max_pool2d.grad_input of windows as large as the image.
// grad_input[n,h,w,c] = grad_output[n,0,0,c] if h,w holds the first largest value of the channel, otherwise zero, multiplied
// as the appended file says.
// What an invocation and a workgroup own is said in pool/whole.wgsl.
// Defined in src/ops/pool/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place(workgroup_number(workgroup, workgroups), invocation);
    find_winners(place, invocation);
    if (place.exists) {
        let winner = lane_winners[invocation % WIDTH];
        let grad = finished(grad_output[place.image * CHANNELS + place.channel], lane_values[invocation % WIDTH]);
        for (var pixel = place.lane; pixel < SLICE_ROWS; pixel += LANES) {
            let index = index_of(place, pixel);
            grad_input[index] = select(0.0, grad, index == winner);
        }
    }
}
