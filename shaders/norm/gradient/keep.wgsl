// The gradient of a normalised value is kept: others read it too, or later launches do.
// Appended by src/ops/norm/grad.rs, with the const line GRAD_SUMMAND_BINDING.

@group(0) @binding(GRAD_SUMMAND_BINDING) var<storage, read_write> grad_summand: array<f32>;

fn keep(index: u32, gradient: f32) {
    grad_summand[index] = gradient;
}
