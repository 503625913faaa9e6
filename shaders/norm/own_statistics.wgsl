// The statistics with which values are normalised: those that an earlier launch of the same operation has written.
// Appended by src/ops/norm/forward.rs to norm/forward_direct.wgsl.

@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> variance: array<f32>;
