// conv2d.grad_input, Winograd, last of three steps: from products to the gradient; appended to conv/winograd/results.wgsl.
// grad_input[n,h,w,c] = the transform's value, stored as an appended file says.
// An invocation owns a tile and WIDTH channels of the input.
// Defined in src/ops/conv/grad_input.rs.

override CHANNELS: u32 = IN_CHANNELS;
override HEIGHT: u32 = IN_HEIGHT;
override COLUMNS: u32 = IN_WIDTH;

fn finished(c: u32, value: Packet) -> Packet {
    return value;
}

fn store(index: u32, value: Packet) {
    store_result(index, value);
}
