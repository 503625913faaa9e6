// No gradient of the bias.
// Appended to kernels with conv/few_channels/tap_groups.wgsl by src/ops/conv/gpu/few_channels/tap_groups.rs.

const BIAS: u32 = 0u;

fn store_bias(index: u32, sum: f32) {}
