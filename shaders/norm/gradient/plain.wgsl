// The gradient of a normalised value: that of the output.
// Appended by src/ops/norm/grad.rs, with the const line GRAD_OUTPUT_BINDING.

@group(0) @binding(GRAD_OUTPUT_BINDING) var<storage, read> grad_output: array<f32>;

fn gradient(index: u32, value: f32) -> f32 {
    return grad_output[index];
}
