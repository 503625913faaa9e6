// The output's gradient as kernels of gradients read it: unchanged.
// Appended by src/ops/prologue/mod.rs to kernels that read packets of four values or one.

fn grad_output_packet(index: u32) -> APacket {
    return grad_output[index];
}
