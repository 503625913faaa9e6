// Winograd's transforms of one channel at a time: for numbers of channels that are no multiples of four.
// Appended to them by src/ops/conv/gpu/winograd.rs.

alias Packet = f32;
alias APacket = Packet;
const WIDTH: u32 = 1u;
