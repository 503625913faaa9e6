// batch_norm.statistics, second pass: combines the moments of all slices.
// An invocation owns one channel in one lane (every LANES-th slice); a workgroup owns WIDTH channels.
// Defined in src/ops/norm/statistics.rs, launched by src/ops/norm/slices.rs.

// [slices,K], like slice_variances
@group(0) @binding(0) var<storage, read> slice_means: array<f32>;
@group(0) @binding(1) var<storage, read> slice_variances: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> variance: array<f32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let k = workgroup_number(workgroup, workgroups) * WIDTH + invocation % WIDTH;
    let lane = invocation / WIDTH;
    var origin = 0.0;
    var moments = Moments(0.0, 0.0, 0.0);
    if (k < CHANNELS) {
        // Relative to one of them, means are close to zero.
        origin = slice_means[k];
        for (var slice = lane; slice < SLICES; slice += LANES) {
            let count = f32(min(SLICE_ROWS, ROWS - slice * SLICE_ROWS));
            let index = slice * CHANNELS + k;
            let slice_mean = slice_means[index] - origin;
            moments = together(moments, Moments(count, slice_mean, slice_variances[index] * count));
        }
    }
    moments = all_lanes(moments, invocation);
    if (k < CHANNELS && lane == 0u) {
        mean[k] = origin + moments.mean;
        variance[k] = moments.squares / moments.count;
    }
}
