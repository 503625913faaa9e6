// The output's gradient as kernels of gradients read it: unchanged.
// Appended by src/ops/prologue/mod.rs to kernels that read one value at a time.

fn grad_output_at(index: u32) -> f32 {
    return grad_output[index];
}
