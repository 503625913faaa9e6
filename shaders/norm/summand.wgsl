// The other branch of a residual block is added to a normalised value.
// Appended by src/ops/norm/forward.rs, and with the const line SUMMAND_BINDING.

@group(0) @binding(SUMMAND_BINDING) var<storage, read> summand: array<f32>;

fn with_summand(index: u32, value: f32) -> f32 {
    return value + summand[index];
}
