// Parameters of which no average is kept.
// Appended to optimizer/update.wgsl by src/ops/optimizer/update.rs.

fn averaged(index: u32, value: vec4<f32>, row: vec4<f32>) -> vec4<f32> {
    return value;
}
