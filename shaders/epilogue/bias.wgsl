// A bias is added to an output value.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish, with the const line BIAS_BINDING.

@group(0) @binding(BIAS_BINDING) var<storage, read> bias: array<f32>;

fn with_bias(k: u32, value: f32) -> f32 {
    return value + bias[k];
}
