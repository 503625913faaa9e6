// sgd with momentum: the direction of a step.
// velocity = momentum * velocity + g; direction = velocity, or g + momentum * velocity with nesterov.
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/sgd.rs.

@group(0) @binding(5) var<storage, read_write> velocity: array<vec4<f32>>;

override NESTEROV: u32;

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    let new_velocity = momentum * velocity[index] + g;
    velocity[index] = new_velocity;
    return select(new_velocity, g + momentum * new_velocity, NESTEROV != 0u);
}
