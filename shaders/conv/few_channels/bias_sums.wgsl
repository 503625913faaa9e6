// The gradient of the bias beside that of the filters.
// Appended to conv/few_channels/grad_filters_stem.wgsl by src/ops/conv/gpu/few_channels/tap_groups.rs, with the const line
// BIAS_BINDING.

// [slices,K]
@group(0) @binding(BIAS_BINDING) var<storage, read_write> grad_bias: array<f32>;

const BIAS: u32 = 1u;

fn store_bias(index: u32, sum: f32) {
    grad_bias[index] = sum;
}
