// The factor of normalised values: the channel's weight.
// Appended by src/ops/norm/mod.rs to kernels that call weight_of, with the const line WEIGHT_BINDING.

@group(0) @binding(WEIGHT_BINDING) var<storage, read> weight: array<f32>;

fn weight_of(k: u32) -> f32 {
    return weight[k];
}
