// group_norm.grad_sums: the terms of its reduction, which the appended files do.
// grad_sum[n,g] = sum of weight * grad_output; grad_product[n,g] = sum of weight * grad_output * normalised, over the rows of
// sample n and the channels of group g, with normalised = (input - mean[n,g]) / sqrt(variance[n,g] + epsilon).
// Defined in src/ops/norm/group/grad_sums.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_sum: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_product: array<f32>;

fn empty() -> vec2<f32> {
    return vec2(0.0, 0.0);
}

fn term(segment: u32, index: u32) -> vec2<f32> {
    let normalised = (input[index] - mean[segment]) * inverse_deviation(variance[segment]);
    return weight_of(index % CHANNELS) * grad_output[index] * vec2(1.0, normalised);
}

fn resumed(segment: u32, values: u32) -> vec2<f32> {
    return vec2(grad_sum[segment], grad_product[segment]);
}

fn store(segment: u32, sums: vec2<f32>) {
    grad_sum[segment] = sums.x;
    grad_product[segment] = sums.y;
}
