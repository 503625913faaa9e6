// conv2d.grad_input, Winograd, first of three steps: grad_output's patches under the tiles of the input; appended to conv/winograd/patches.wgsl.
// A tile's patch starts with the first window that contains the tile's first position: p = h + padding - 2, q = w +
// padding - 2.
// An invocation owns a tile and WIDTH channels.
// Defined in src/ops/conv/grad_input.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<APacket>;

override CHANNELS: u32 = OUT_CHANNELS;
override HEIGHT: u32 = OUT_HEIGHT;
override COLUMNS: u32 = OUT_WIDTH;

fn patch_row(h: u32) -> u32 {
    return h + PADDING_TOP - (KERNEL_HEIGHT - 1u);
}

fn patch_column(w: u32) -> u32 {
    return w + PADDING_LEFT - (KERNEL_WIDTH - 1u);
}

fn patch_value(index: u32) -> Packet {
    return grad_output_packet(index);
}
