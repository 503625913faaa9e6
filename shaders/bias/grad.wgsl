// bias.grad: the terms of its sums; the appended files sum them and define grad_output_at(index).
// grad_bias[k] = sum over rows of grad_output[row,k].
// Defined in src/ops/bias/grad.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
// [K], or [slices,K]
@group(0) @binding(1) var<storage, read_write> grad_bias: array<f32>;

fn term(index: u32) -> f32 {
    return grad_output_at(index);
}

fn partial(index: u32) -> f32 {
    return grad_bias[index];
}

fn store(index: u32, sum: f32) {
    grad_bias[index] = sum;
}
