// multiply.grad_factors: the terms of its sums; the appended files sum them.
// grad_factors[n,k] = sum over rows of grad_output[n,row,k] * input[n,row,k].
// Defined in src/ops/multiply/grad_factors.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_factors: array<f32>;

fn term(index: u32) -> f32 {
    return input[index] * grad_output[index];
}

fn partial(index: u32) -> f32 {
    return grad_factors[index];
}

fn store(index: u32, sum: f32) {
    grad_factors[index] = sum;
}
