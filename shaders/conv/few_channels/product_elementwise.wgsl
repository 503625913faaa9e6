// The elementwise product of a packet of channels and its weights: four depthwise channels, or one channel, at a time.
// Appended to the forward pass and to the gradient of the input by src/ops/conv/gpu/few_channels/grouped.rs.

alias Weights = Packet;

fn weights_at(place: u32) -> Weights {
    return staged[place];
}

fn multiply_add(weights: Weights, value: Packet, sum: Packet) -> Packet {
    return fma(weights, value, sum);
}
