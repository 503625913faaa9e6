// conv2d.forward, Winograd, last of three steps: from products to the output; appended to conv/winograd/results.wgsl.
// output[n,p,q,k] = finish(k, the transform's value).
// An invocation owns a tile and WIDTH channels of the output.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read_write> output: array<Packet>;

override CHANNELS: u32 = OUT_CHANNELS;
override HEIGHT: u32 = OUT_HEIGHT;
override COLUMNS: u32 = OUT_WIDTH;

fn finished(k: u32, value: Packet) -> Packet {
    return finish_packet(k, value);
}

fn store(index: u32, value: Packet) {
    output[index] = value;
}
