// The gradient of a normalised value, which an earlier launch of the same operation has written.
// Appended by src/ops/norm/grad.rs, with the const line GRAD_SUMMAND_BINDING.

@group(0) @binding(GRAD_SUMMAND_BINDING) var<storage, read_write> grad_summand: array<f32>;

fn gradient(index: u32, value: f32) -> f32 {
    return grad_summand[index];
}
