// batch_norm.grad, sliced, second launch where the input needs no gradient: adds the sums of all slices.
// An invocation owns one channel in one lane (every LANES-th slice); a workgroup owns WIDTH channels.
// Defined in src/ops/norm/grad.rs, launched by src/ops/norm/slices.rs.

// [2 + slices,K]: the sums for the weight and for the bias, from the third row
@group(0) @binding(0) var<storage, read> sums_of_slices: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_bias: array<f32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place_of(workgroup_number(workgroup, workgroups), invocation);
    let k = place.k;
    var sums = vec2(0.0, 0.0);
    if (place.is_inside) {
        for (var slice = place.lane; slice < SLICES; slice += LANES) {
            sums += sums_of_slices[(2u + slice) * CHANNELS + k];
        }
    }
    sums = all_lanes(sums, invocation);
    if (place.is_inside && place.lane == 0u) {
        grad_weight[k] = sums.x;
        grad_bias[k] = sums.y;
    }
}
