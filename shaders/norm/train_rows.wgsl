// batch_norm.train, sliced, last launch: combines the moments of all parts of the rows, and normalises those of a slice.
// output[row,k] = (input[row,k] - mean[k]) / sqrt(squares[k] / rows + epsilon) * weight[k] + bias[k].
// An invocation owns one channel in one lane (every LANES-th part, and every LANES-th row of its slice); a workgroup owns
// WIDTH channels of a slice. Every workgroup combines the moments in the same order; those of the first slice write them.
// Defined in src/ops/norm/train.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
// [PARTS,K]: the mean, and the sum of squared differences from it
@group(0) @binding(1) var<storage, read> moments_of_parts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> variance: array<f32>;

// Parts of the rows whose moments are known, and the number of rows of each: the slices, or tiles of a product.
override PARTS: u32;
override PART_ROWS: u32;

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
        // Relative to one of them, means are close to zero.
        origin = moments_of_parts[k].x;
        for (var part = place.lane; part < PARTS; part += ROWS_TOGETHER * LANES) {
            var of_parts: array<vec2<f32>, ROWS_TOGETHER>;
            for (var i = 0u; i < ROWS_TOGETHER; i++) {
                of_parts[i] = moments_of_parts[min(part + i * LANES, PARTS - 1u) * CHANNELS + k];
            }
            for (var i = 0u; i < ROWS_TOGETHER; i += 2u) {
                let pair = together(
                    of_part(part + i * LANES, of_parts[i], origin),
                    of_part(part + (i + 1u) * LANES, of_parts[i + 1u], origin),
                );
                moments = together(moments, pair);
            }
        }
    }
    moments = of_all_lanes(moments, invocation);
    if (!place.is_inside) {
        return;
    }
    let mean_of_channel = origin + moments.mean;
    let variance_of_channel = moments.squares / (moments.count - 1.0);
    if (place.slice == 0u && place.lane == 0u) {
        mean[k] = mean_of_channel;
        variance[k] = variance_of_channel;
    }
    let factor = inverse_of_batch(variance_of_channel) * weight_of(k);
    let shift = bias_of(k);
    for (var row = place.first_row; row < place.end_row; row += ROWS_TOGETHER * LANES) {
        var values: array<f32, ROWS_TOGETHER>;
        for (var i = 0u; i < ROWS_TOGETHER; i++) {
            let index = min(row + i * LANES, ROWS - 1u) * CHANNELS + k;
            values[i] = with_summand(index, (input[index] - mean_of_channel) * factor + shift);
        }
        for (var i = 0u; i < ROWS_TOGETHER; i++) {
            if (row + i * LANES < place.end_row) {
                output[(row + i * LANES) * CHANNELS + k] = activate(values[i]);
            }
        }
    }
}

// The moments of a part, or of an empty set if there is no such part. Without a branch: the loop that calls it is unrolled,
// so that what it reads from stays in registers.
fn of_part(part: u32, moments: vec2<f32>, origin: f32) -> Moments {
    let rows = min((part + 1u) * PART_ROWS, ROWS) - min(part * PART_ROWS, ROWS);
    return Moments(f32(rows), moments.x - origin, select(0.0, moments.y, rows > 0u));
}
