// The output's gradient as the kernels of gradients read it: as it is.
// Appended by src/ops/prologue/mod.rs to kernels that read packets of four values or one.

fn grad_output_packet(index: u32) -> APacket {
    return grad_output[index];
}
