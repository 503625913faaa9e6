// batch_norm.train, sliced, first launch: the moments of each slice of the rows.
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Defined in src/ops/norm/train.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
// [slices,K]: the mean, and the sum of squared differences from it
@group(0) @binding(1) var<storage, read_write> moments_of_slices: array<vec2<f32>>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place_of(workgroup_number(workgroup, workgroups), invocation);
    let k = place.k;
    var origin = 0.0;
    var moments = Moments(0.0, 0.0, 0.0);
    if (place.is_inside) {
        // Relative to one of them, values are close to zero.
        origin = input[place.slice * SLICE_ROWS * CHANNELS + k];
        var row = place.first_row;
        for (; row + (ROWS_TOGETHER - 1u) * LANES < place.end_row; row += ROWS_TOGETHER * LANES) {
            var values: array<f32, ROWS_TOGETHER>;
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                values[i] = input[(row + i * LANES) * CHANNELS + k] - origin;
            }
            moments = together(moments, of_values(values));
        }
        for (; row < place.end_row; row += LANES) {
            moments = together(moments, of_value(input[row * CHANNELS + k] - origin));
        }
    }
    moments = all_lanes(moments, invocation);
    if (place.is_inside && place.lane == 0u) {
        moments_of_slices[place.slice * CHANNELS + k] = vec2(origin + moments.mean, moments.squares);
    }
}

// Of values whose mean is close to zero: a division for all of them.
fn of_values(values: array<f32, ROWS_TOGETHER>) -> Moments {
    var sum = 0.0;
    for (var i = 0u; i < ROWS_TOGETHER; i++) {
        sum += values[i];
    }
    let mean = sum / f32(ROWS_TOGETHER);
    var squares = 0.0;
    for (var i = 0u; i < ROWS_TOGETHER; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    return Moments(f32(ROWS_TOGETHER), mean, squares);
}
