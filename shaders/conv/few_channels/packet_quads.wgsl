// The packets that kernels for few channels move at a time: four neighbouring channels.
// Appended to these kernels by src/ops/conv/gpu/few_channels/packet.rs.

alias Packet = vec4<f32>;
const WIDTH: u32 = 4u;

fn packet(values: array<f32, WIDTH>) -> Packet {
    return vec4(values[0], values[1], values[2], values[3]);
}

fn component(values: Packet, number: u32) -> f32 {
    return values[number];
}

// The packet that starts at value `first` of the four.
fn packet_of_four(values: vec4<f32>, first: u32) -> Packet {
    return values;
}
