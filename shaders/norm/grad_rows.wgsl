// batch_norm.grad, sliced, second launch: adds the sums of all slices, and computes the input's gradient for the rows of one.
// grad_input = weight * inverse * (gradient - grad_bias / rows - (input - mean) * inverse * grad_weight / rows).
// An invocation owns one channel in one lane (every LANES-th slice, and every LANES-th row of its own); a workgroup owns
// WIDTH channels of a slice. Every workgroup adds the sums in the same order; those of the first slice write them.
// Defined in src/ops/norm/grad.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
// [2 + slices,K]: the mean and the inverse deviation; the weight and the bias; the sums for the weight and for the bias
@group(0) @binding(1) var<storage, read> sums_of_slices: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

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
        for (var other = place.lane; other < SLICES; other += ROWS_TOGETHER * LANES) {
            var of_slices: array<vec2<f32>, ROWS_TOGETHER>;
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                of_slices[i] = sums_of_slices[(2u + min(other + i * LANES, SLICES - 1u)) * CHANNELS + k];
            }
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                sums += select(vec2<f32>(), of_slices[i], other + i * LANES < SLICES);
            }
        }
    }
    sums = of_all_lanes(sums, invocation);
    if (!place.is_inside) {
        return;
    }
    if (place.slice == 0u && place.lane == 0u) {
        grad_weight[k] = sums.x;
        grad_bias[k] = sums.y;
    }
    let statistics = sums_of_slices[k];
    let affine = sums_of_slices[CHANNELS + k];
    let factor = statistics.y * affine.x;
    let slope = statistics.y * sums.x / f32(ROWS);
    let share_of_each = sums.y / f32(ROWS);
    for (var row = place.first_row; row < place.end_row; row += ROWS_TOGETHER * LANES) {
        var values: array<f32, ROWS_TOGETHER>;
        for (var i = 0u; i < ROWS_TOGETHER; i++) {
            let index = min(row + i * LANES, ROWS - 1u) * CHANNELS + k;
            let difference = input[index] - statistics.x;
            let grad = gradient(index, difference * factor + affine.y);
            values[i] = factor * (grad - share_of_each - difference * slope);
        }
        for (var i = 0u; i < ROWS_TOGETHER; i++) {
            if (row + i * LANES < place.end_row) {
                grad_input[(row + i * LANES) * CHANNELS + k] = values[i];
            }
        }
    }
}
