// Parameters of which no average is kept.
// Appended to optimizer/update.wgsl by src/ops/optimizer/update.rs.

fn keep_average(index: u32, value: vec4<f32>) {
}
