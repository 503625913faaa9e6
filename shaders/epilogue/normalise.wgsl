// An output value is normalised with given statistics, scaled and shifted.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish, with norm/deviation.wgsl and a const line for each binding.

@group(0) @binding(MEAN_BINDING) var<storage, read> mean: array<f32>;
@group(0) @binding(VARIANCE_BINDING) var<storage, read> variance: array<f32>;
@group(0) @binding(SCALE_BINDING) var<storage, read> scale: array<f32>;
@group(0) @binding(SHIFT_BINDING) var<storage, read> shift: array<f32>;

fn normalised(k: u32, value: f32) -> f32 {
    return (value - mean[k]) * inverse_deviation(variance[k]) * scale[k] + shift[k];
}
