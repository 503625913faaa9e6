// The elementwise product of a packet of channels and its weights: four depthwise channels, or one channel, at a time.
// Appended to conv/forward_grouped.wgsl and conv/grad_input_grouped.wgsl by src/ops/conv/gpu/grouped.rs.

alias Weights = Packet;

fn weights_at(place: u32) -> Weights {
    return staged[place];
}

fn multiply_add(weights: Weights, value: Packet, sum: Packet) -> Packet {
    return fma(weights, value, sum);
}
