// What a pool's kernel stores of a value's gradient, where the value is an activation's output: the gradient of the
// activation's input.
// Appended to pool/max_grad.wgsl and pool/max_grad_cells.wgsl by src/ops/pool/grad.rs, with the file that says derivative.

fn finished(grad: f32, value: f32) -> f32 {
    return grad * derivative(value);
}
