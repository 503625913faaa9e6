// batch_norm.grad_parameters, sliced: the sums of a slice of the rows; norm/grad_parameters_of_slices.wgsl adds them.
// grad_weight[k] = sum over rows of grad_output[row,k] * (input[row,k] - mean[k]) / sqrt(variance[k] + epsilon);
// grad_bias[k] = sum over rows of grad_output[row,k].
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Defined in src/ops/norm/grad_parameters.rs, launched by src/ops/norm/slices.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
// [slices,K], like grad_bias
@group(0) @binding(4) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_bias: array<f32>;

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
    var sums = vec2(0.0, 0.0);
    if (is_inside && lane < LANES) {
        let mean_of_channel = mean[k];
        let inverse = inverse_deviation(variance[k]);
        let end_row = min((slice + 1u) * SLICE_ROWS, ROWS);
        for (var row = slice * SLICE_ROWS + lane; row < end_row; row += LANES) {
            let index = row * CHANNELS + k;
            sums += grad_output[index] * vec2((input[index] - mean_of_channel) * inverse, 1.0);
        }
    }
    sums = all_lanes(sums, invocation);
    if (is_inside && lane == 0u) {
        grad_weight[slice * CHANNELS + k] = sums.x;
        grad_bias[slice * CHANNELS + k] = sums.y;
    }
}
