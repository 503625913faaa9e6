// adagrad: the direction of a step.
// square_sum = square_sum + g^2; direction = g / (sqrt(square_sum) + EPSILON).
// Called by optimizer/update.wgsl, with the gradient of four values.
// Defined in src/ops/optimizer/adagrad.rs.

@group(0) @binding(5) var<storage, read_write> square_sum: array<vec4<f32>>;

override EPSILON: f32;

fn direction(index: u32, g: vec4<f32>, momentum: f32, corrections: vec2<f32>) -> vec4<f32> {
    let sum = square_sum[index] + g * g;
    square_sum[index] = sum;
    return g / (sqrt(sum) + EPSILON);
}
