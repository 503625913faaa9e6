// `derivative` for packets of one value.
// Appended with prologue/activation_packet.wgsl by src/ops/prologue/mod.rs, and with pool/unpooled_times_derivative.wgsl by
// src/ops/pool/store.rs.

fn derivative_packet(value: f32) -> f32 {
    return derivative(value);
}
