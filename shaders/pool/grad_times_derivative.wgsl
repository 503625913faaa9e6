// The gradient that a pool's kernel stores for a value that is an activation's output: that of the activation's input.
// Appended to pool/max_grad.wgsl and pool/max_grad_cells.wgsl by src/ops/pool/grad.rs, with the file that defines derivative.

fn finished(grad: f32, value: f32) -> f32 {
    return grad * derivative(value);
}
