// Each position of a strip is stored.
// Appended to conv/few_channels/forward_stem.wgsl by src/ops/conv/gpu/few_channels/stem.rs.

fn store_strip(sums: ptr<function, Sums>, strip: OutputStrip, first_quad: u32) {
    for (var i = 0u; i < STRIP; i++) {
        for (var j = 0u; j < QUADS; j++) {
            for (var d = 0u; d < 4u; d += WIDTH) {
                let k = (first_quad + j * LANES) * 4u + d;
                if (strip.first_q + i < OUT_WIDTH && k < OUT_CHANNELS) {
                    let index = output_index(strip.n, strip.first_p, strip.first_q + i, k);
                    output[index / WIDTH] = finish_packet(k, packet_of_four((*sums)[i * QUADS + j], d));
                }
            }
        }
    }
}
