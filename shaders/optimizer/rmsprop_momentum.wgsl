// rmsprop with momentum: the direction of a step.
// direction = velocity = momentum * velocity + normalised gradient.
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/rmsprop.rs.

@group(0) @binding(6) var<storage, read_write> velocity: array<vec4<f32>>;

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    let new_velocity = momentum * velocity[index] + normalised(index, g);
    velocity[index] = new_velocity;
    return new_velocity;
}
