// The term added to normalised values: the channel's bias.
// Appended by src/ops/norm/mod.rs to kernels that call bias_of, with the const line BIAS_BINDING.

@group(0) @binding(BIAS_BINDING) var<storage, read> bias: array<f32>;

fn bias_of(k: u32) -> f32 {
    return bias[k];
}
