// The output's gradient at one position for four neighbouring filters, even if packets are narrower.
// Appended to both gradients by src/ops/conv/gpu/few_channels/stem.rs.

// The packets of prologue/plain_packet.wgsl.
alias APacket = Packet;

// The gradients of filters k to k + 3; zeros for filters past the last one.
fn grads_of_four(n: u32, p: u32, q: u32, k: u32) -> vec4<f32> {
    var grads: array<f32, 4>;
    for (var d = 0u; d < 4u; d += WIDTH) {
        let grad = grad_output_packet(output_index(n, p, q, min(k + d, OUT_CHANNELS - WIDTH)) / WIDTH);
        for (var e = 0u; e < WIDTH; e++) {
            grads[d + e] = select(0.0, component(grad, e), WIDTH == 4u || k + d < OUT_CHANNELS);
        }
    }
    return vec4(grads[0], grads[1], grads[2], grads[3]);
}
