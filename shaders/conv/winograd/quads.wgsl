// Winograd's transforms of four channels at a time: for numbers of channels that are multiples of four.
// Appended to them by src/ops/conv/gpu/winograd.rs.

alias Packet = vec4<f32>;
alias APacket = Packet;
const WIDTH: u32 = 4u;
