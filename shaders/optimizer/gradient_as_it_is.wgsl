// The gradient without clipping.

fn clipped(g: vec4<f32>) -> vec4<f32> {
    return g;
}
