// Winograd's transforms of four channels at a time: if the number of channels is a multiple of four.
// Appended to the transforms by src/ops/conv/gpu/winograd.rs.

alias Packet = vec4<f32>;
alias APacket = Packet;
alias ResultPacket = Packet;
alias ResultPlaces = vec4<u32>;
const WIDTH: u32 = 4u;
const RESULT_WIDTH: u32 = 4u;
