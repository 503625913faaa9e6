// The moving average of values: average += share * (value - average), and what the values become.
// Appended to optimizer/update.wgsl and optimizer/average_apart.wgsl by src/ops/optimizer.

@group(0) @binding(AVERAGE_BINDING) var<storage, read_write> average: array<vec4<f32>>;

// The second half of a row of the schedule holds the share, and whether values become their averages.
fn averaged(index: u32, value: vec4<f32>, row: vec4<f32>) -> vec4<f32> {
    let before = average[index];
    let after = before + row.y * (value - before);
    average[index] = after;
    return select(value, after, row.z > 0.5);
}
