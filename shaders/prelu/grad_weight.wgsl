// prelu.grad_weight: the terms of its sums; the appended files sum them.
// grad_weight[k] = sum over rows of grad_output[row,k] * input[row,k], without the rows whose input is above 0.
// Defined in src/ops/prelu/grad_weight.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
// [K], or [slices,K]
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;

fn term(index: u32) -> f32 {
    let x = input[index];
    return select(grad_output[index] * x, 0.0, x > 0.0);
}

fn partial(index: u32) -> f32 {
    return grad_weight[index];
}

fn store(index: u32, sum: f32) {
    grad_weight[index] = sum;
}
