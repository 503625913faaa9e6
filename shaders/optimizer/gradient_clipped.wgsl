// The gradient, clipped by the norm of all gradients.

@group(0) @binding(CLIP_SCALE_BINDING) var<storage, read> clip_scale: array<f32>;

fn clipped(g: vec4<f32>) -> vec4<f32> {
    return clip_scale[0] * g;
}
