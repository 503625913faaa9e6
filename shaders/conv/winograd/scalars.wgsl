// Winograd's transforms of one channel at a time: if the number of channels is not a multiple of four.
// Appended to the transforms by src/ops/conv/gpu/winograd.rs.

alias Packet = f32;
alias APacket = Packet;
alias ResultPacket = Packet;
alias ResultPlaces = u32;
const WIDTH: u32 = 1u;
const RESULT_WIDTH: u32 = 1u;
