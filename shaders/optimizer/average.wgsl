// The moving average of the parameters: average += AVERAGE_SHARE * (parameter - average).
// Appended to optimizer/update.wgsl and optimizer/average_apart.wgsl by src/ops/optimizer/update.rs.

@group(0) @binding(AVERAGE_BINDING) var<storage, read_write> average: array<vec4<f32>>;

override AVERAGE_SHARE: f32;

fn keep_average(index: u32, value: vec4<f32>) {
    average[index] += AVERAGE_SHARE * (value - average[index]);
}
