// `derivative` for packets of four values.
// Appended with prologue/activation_packet.wgsl by src/ops/prologue/mod.rs, and with pool/unpooled_times_derivative.wgsl by
// src/ops/pool/store.rs.

fn derivative_packet(values: vec4<f32>) -> vec4<f32> {
    return vec4(derivative(values.x), derivative(values.y), derivative(values.z), derivative(values.w));
}
