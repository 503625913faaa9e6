// conv2d.forward and conv2d.grad_filters, Winograd, first of three steps: the input's patches under the tiles of the output; appended to conv/winograd/patches.wgsl.
// A tile's patch starts at the first position of the tile's first window: h = p - padding, w = q - padding.
// An invocation owns a tile and WIDTH channels.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<Packet>;

override CHANNELS: u32 = IN_CHANNELS;
override HEIGHT: u32 = IN_HEIGHT;
override COLUMNS: u32 = IN_WIDTH;

fn patch_row(p: u32) -> u32 {
    return input_row(p, 0u);
}

fn patch_column(q: u32) -> u32 {
    return input_column(q, 0u);
}

fn patch_value(index: u32) -> Packet {
    return input[index];
}
