// `derivative` for packets of four values.
// Appended by src/ops/prologue/mod.rs with prologue/activation_packet.wgsl.

fn derivative_packet(values: vec4<f32>) -> vec4<f32> {
    return vec4(derivative(values.x), derivative(values.y), derivative(values.z), derivative(values.w));
}
