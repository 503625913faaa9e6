// The output's gradient as kernels of gradients read it: multiplied by an activation's derivative.
// Appended by src/ops/prologue/mod.rs to kernels that read one value at a time, with the file that defines derivative and the
// const line ACTIVATED_BINDING.

@group(0) @binding(ACTIVATED_BINDING) var<storage, read> activated: array<f32>;

fn grad_output_at(index: u32) -> f32 {
    return grad_output[index] * derivative(activated[index]);
}
