// batch_norm.train, sliced, first launch: the moments of each slice of the rows.
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Defined in src/ops/norm/train.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
// [slices,K]: the mean, and the sum of squared differences from it
@group(0) @binding(1) var<storage, read_write> moments_of_slices: array<vec2<f32>>;

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
        moments_of_slices[slice * CHANNELS + k] = vec2(origin + moments.mean, moments.squares);
    }
}
