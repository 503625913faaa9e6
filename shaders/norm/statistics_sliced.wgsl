// batch_norm.statistics, sliced: the moments of a slice of the rows; norm/statistics_of_slices.wgsl combines them.
// mean[k] = sum over rows of input[row,k] / rows; variance[k] = sum over rows of (input[row,k] - mean[k])^2 / rows.
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Defined in src/ops/norm/statistics.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
// [slices,K], like variance
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;

override BLOCKS: u32 = (CHANNELS + WIDTH - 1u) / WIDTH;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = workgroup_number(workgroup, workgroups);
    let slice = number / BLOCKS;
    let k = number % BLOCKS * WIDTH + invocation % WIDTH;
    let lane = invocation / WIDTH;
    let is_inside = slice < SLICES && k < CHANNELS;
    var origin = 0.0;
    var moments = Moments(0.0, 0.0, 0.0);
    if (is_inside && lane < LANES) {
        // Relative to one of them, values are close to zero.
        origin = input[slice * SLICE_ROWS * CHANNELS + k];
        let end_row = min((slice + 1u) * SLICE_ROWS, ROWS);
        for (var row = slice * SLICE_ROWS + lane; row < end_row; row += LANES) {
            moments = together(moments, of_value(input[row * CHANNELS + k] - origin));
        }
    }
    moments = all_lanes(moments, invocation);
    if (is_inside && lane == 0u) {
        mean[slice * CHANNELS + k] = origin + moments.mean;
        variance[slice * CHANNELS + k] = moments.squares / moments.count;
    }
}
