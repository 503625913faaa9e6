// The gradient that a pool's kernel stores for a value: unchanged.
// Appended to pool/max_grad.wgsl and pool/max_grad_cells.wgsl by src/ops/pool/grad.rs.

fn finished(grad: f32, value: f32) -> f32 {
    return grad;
}
