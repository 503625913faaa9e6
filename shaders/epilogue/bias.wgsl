// The last step before an output value is stored: a bias is added.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish, with the const line BIAS_BINDING.

@group(0) @binding(BIAS_BINDING) var<storage, read> bias: array<f32>;

fn finish(k: u32, value: f32) -> f32 {
    return value + bias[k];
}
