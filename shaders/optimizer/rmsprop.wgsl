// rmsprop without momentum: the direction of a step.
// direction = normalised gradient.
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/rmsprop.rs.

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    return normalised(index, g);
}
