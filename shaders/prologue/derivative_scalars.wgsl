// `derivative` for packets of one value.
// Appended by src/ops/prologue/mod.rs with prologue/activation_packet.wgsl.

fn derivative_packet(value: f32) -> f32 {
    return derivative(value);
}
