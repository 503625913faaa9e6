// The statistics with which values are normalised: given.
// Appended by src/ops/norm/forward.rs to norm/forward_direct.wgsl.

@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> variance: array<f32>;
