// What the kernels of an average divide by where all taps of every window count: the whole sum, at its end.
// Appended to pool/average_forward.wgsl and pool/average_grad.wgsl by src/ops/pool/mod.rs.

fn mean(sum: f32, p: u32, q: u32) -> f32 {
    return sum / f32(KERNEL_HEIGHT * KERNEL_WIDTH);
}

fn share(grad: f32, p: u32, q: u32) -> f32 {
    return grad;
}

fn total(sum: f32) -> f32 {
    return sum / f32(KERNEL_HEIGHT * KERNEL_WIDTH);
}
