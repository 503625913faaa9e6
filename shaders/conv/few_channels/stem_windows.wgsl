// Of each window of 2 x 2 positions, the largest finished results are stored, and their places.
// best[n,p,q,k] = max over r,s of finish(result[n,2p+r,2q+s,k]); a NaN is the largest, and the first of equals wins.
// STRIP is even, and STRIP_ROWS is 2: an invocation compares what it has in registers.
// Appended to conv/few_channels/forward_stem.wgsl by src/ops/conv/gpu/few_channels/stem.rs, with epilogue/four.wgsl and files that
// define best_of and store_best.

fn store_strip(sums: ptr<function, Sums>, strip: OutputStrip, first_quad: u32) {
    for (var i = 0u; i < STRIP; i += 2u) {
        for (var j = 0u; j < QUADS; j++) {
            let q = strip.first_q + i;
            let k = (first_quad + j * LANES) * 4u;
            if (q + 1u < OUT_WIDTH && k < OUT_CHANNELS) {
                let above = i * QUADS + j;
                let below = above + STRIP * QUADS;
                let best = best_of(
                    finished_four(k, OUT_CHANNELS - 1u, (*sums)[above]),
                    finished_four(k, OUT_CHANNELS - 1u, (*sums)[above + QUADS]),
                    finished_four(k, OUT_CHANNELS - 1u, (*sums)[below]),
                    finished_four(k, OUT_CHANNELS - 1u, (*sums)[below + QUADS]),
                );
                let window = (strip.n * (OUT_HEIGHT / 2u) + strip.first_p / 2u) * (OUT_WIDTH / 2u) + q / 2u;
                store_best(window * OUT_CHANNELS + k, OUT_CHANNELS - k, best);
            }
        }
    }
}
