// Values that kernels for few channels move at a time: one, for channels that do not come in fours.
// Appended to them by src/ops/conv/gpu/few_channels/packet.rs.

alias Packet = f32;
const WIDTH: u32 = 1u;

fn packet(values: array<f32, WIDTH>) -> Packet {
    return values[0];
}

fn component(values: Packet, number: u32) -> f32 {
    return values;
}

// The packet of four values that starts with number `first`.
fn packet_of_four(values: vec4<f32>, first: u32) -> Packet {
    return values[first];
}
