// The gradient of a normalised value: that of the output, times an activation's derivative from what it saved.
// Appended by src/ops/norm/grad.rs, with the file that defines derivative and the const lines GRAD_OUTPUT_BINDING and
// ACTIVATED_BINDING.

@group(0) @binding(GRAD_OUTPUT_BINDING) var<storage, read> grad_output: array<f32>;
@group(0) @binding(ACTIVATED_BINDING) var<storage, read> activated: array<f32>;

fn gradient(index: u32, value: f32) -> f32 {
    return grad_output[index] * derivative(activated[index]);
}
