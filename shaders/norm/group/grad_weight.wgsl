// group_norm.grad_weight: the terms of its sums; the appended files sum them.
// grad_weight[k] = sum over n,row of grad_output[n,row,k] * (input[n,row,k] - mean[n,g]) / sqrt(variance[n,g] + epsilon), for
// channel k of group g.
// Defined in src/ops/norm/group/grad_weight.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
// [K], or [slices,K]
@group(0) @binding(4) var<storage, read_write> grad_weight: array<f32>;

override SAMPLE_ROWS: u32;
override GROUPS: u32;

fn term(index: u32) -> f32 {
    let segment = index / CHANNELS / SAMPLE_ROWS * GROUPS + index % CHANNELS / (CHANNELS / GROUPS);
    return grad_output[index] * ((input[index] - mean[segment]) * inverse_deviation(variance[segment]));
}

fn partial(index: u32) -> f32 {
    return grad_weight[index];
}

fn store(index: u32, sum: f32) {
    grad_weight[index] = sum;
}
