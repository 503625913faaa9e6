// `finish` for the packets of gemm/result_scalars.wgsl: one at a time.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs if results are finished there.

fn finish_packet(channel: u32, value: f32) -> f32 {
    return finish(channel, value);
}
