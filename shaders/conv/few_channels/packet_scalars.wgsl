// The packets that kernels for few channels move at a time: one value, if the channels are not a multiple of four.
// Appended to these kernels by src/ops/conv/gpu/few_channels/packet.rs.

alias Packet = f32;
const WIDTH: u32 = 1u;

fn packet(values: array<f32, WIDTH>) -> Packet {
    return values[0];
}

fn component(values: Packet, number: u32) -> f32 {
    return values;
}

// The packet that starts at value `first` of the four.
fn packet_of_four(values: vec4<f32>, first: u32) -> Packet {
    return values[first];
}
