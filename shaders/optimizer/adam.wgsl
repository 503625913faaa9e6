// adam and adamw: the direction of a step.
// m = first_moment and v = second_moment, averages of g and g^2; direction = corrected m / (sqrt(corrected v) + EPSILON).
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/adam.rs.

@group(0) @binding(5) var<storage, read_write> first_moment: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> second_moment: array<vec4<f32>>;

// Weight of g^2 in the new average.
override SECOND_SHARE: f32;
override EPSILON: f32;

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    // In this form, the weights of the old average and of the new value add up to 1 however they are rounded.
    let first = first_moment[index] + (1.0 - momentum) * (g - first_moment[index]);
    let second = second_moment[index] + SECOND_SHARE * (g * g - second_moment[index]);
    first_moment[index] = first;
    second_moment[index] = second;
    return corrections.x * first / (sqrt(second) * corrections.y + EPSILON);
}
