// The sums for the gradients of the weight and the bias, side by side.
// Appended by src/ops/norm/grad.rs.

alias Lane = vec2<f32>;

fn together(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return a + b;
}
