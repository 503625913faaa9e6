// The output's gradient as kernels of gradients read it: multiplied by an activation's derivative.
// Appended by src/ops/prologue/mod.rs to kernels that read packets of four values or one, with the files that define
// derivative and derivative_packet and the const line ACTIVATED_BINDING.

@group(0) @binding(ACTIVATED_BINDING) var<storage, read> activated: array<APacket>;

fn grad_output_packet(index: u32) -> APacket {
    return grad_output[index] * derivative_packet(activated[index]);
}
