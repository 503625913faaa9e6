// `finish` for the packets of gemm/result_quads.wgsl: four at a time.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs if results are finished there.

fn finish_packet(channel: u32, values: vec4<f32>) -> vec4<f32> {
    return vec4(
        finish(channel, values.x),
        finish(channel + 1u, values.y),
        finish(channel + 2u, values.z),
        finish(channel + 3u, values.w),
    );
}
