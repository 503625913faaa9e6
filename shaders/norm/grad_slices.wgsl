// batch_norm.grad, sliced, first launch: the sums of each slice of the rows, and the factors of each channel.
// grad_weight[k] = sum over rows of gradient[row,k] * (input[row,k] - mean[k]) * inverse[k];
// grad_bias[k] = sum over rows of gradient[row,k]; inverse[k] = 1 / sqrt(variance[k] * (rows - 1) / rows + epsilon).
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Defined in src/ops/norm/grad.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
// [2 + slices,K]: the mean and the inverse deviation; the weight and the bias; the sums for the weight and for the bias
@group(0) @binding(3) var<storage, read_write> sums_of_slices: array<vec2<f32>>;

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
        let mean_of_channel = mean[k];
        let inverse = inverse_of_batch(variance[k]);
        let factor = inverse * weight_of(k);
        let shift = bias_of(k);
        for (var row = place.first_row; row < place.end_row; row += ROWS_TOGETHER * LANES) {
            var differences: array<f32, ROWS_TOGETHER>;
            var grads: array<f32, ROWS_TOGETHER>;
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                let index = min(row + i * LANES, ROWS - 1u) * CHANNELS + k;
                differences[i] = input[index] - mean_of_channel;
                grads[i] = gradient(index, differences[i] * factor + shift);
            }
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                if (row + i * LANES < place.end_row) {
                    keep((row + i * LANES) * CHANNELS + k, grads[i]);
                    sums += grads[i] * vec2(differences[i] * inverse, 1.0);
                }
            }
        }
        if (place.slice == 0u && place.lane == 0u) {
            sums_of_slices[k] = vec2(mean_of_channel, inverse);
            sums_of_slices[CHANNELS + k] = vec2(weight_of(k), shift);
        }
    }
    sums = all_lanes(sums, invocation);
    if (place.is_inside && place.lane == 0u) {
        sums_of_slices[(2u + place.slice) * CHANNELS + k] = sums;
    }
}
