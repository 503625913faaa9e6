// lion: the direction of a step.
// direction = sign(momentum * first_moment + (1 - momentum) * g); first_moment = average of g.
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/lion.rs.

@group(0) @binding(5) var<storage, read_write> first_moment: array<vec4<f32>>;

// Weight of g in the new average.
override SHARE: f32;

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    let before = first_moment[index];
    first_moment[index] = before + SHARE * (g - before);
    return sign(momentum * before + (1.0 - momentum) * g);
}
