// The output's gradient as the kernels of gradients read it: as it is.
// Appended by src/ops/prologue/mod.rs to kernels that read a value at a time.

fn grad_output_at(index: u32) -> f32 {
    return grad_output[index];
}
