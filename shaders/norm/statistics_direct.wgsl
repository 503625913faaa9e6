// batch_norm.train, direct, the first launches: every channel's mean and variance, value by value.
// mean[k] = sum over rows of input[row,k] / rows; variance[k] = sum over rows of (input[row,k] - mean[k])^2 / (rows - 1).
// An invocation owns one channel; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/train.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
// Between launches, the sum of squared differences.
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;

override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let k = global_index(workgroup, workgroups, invocation);
    if (k >= CHANNELS) {
        return;
    }
    // Relative to one of them, values are close to zero.
    let origin = input[k];
    var moments = Moments(0.0, 0.0, 0.0);
    if (!IS_FIRST_PART) {
        moments = Moments(f32(FIRST_TERM), mean[k] - origin, variance[k]);
    }
    for (var row = FIRST_TERM; row < END_TERM; row++) {
        moments = together(moments, of_value(input[row * CHANNELS + k] - origin));
    }
    mean[k] = origin + moments.mean;
    variance[k] = moments.squares / select(1.0, moments.count - 1.0, IS_LAST_PART);
}
