// Of each window of four rows, the largest finished results are stored, and which of the four they were.
// best[window,n] = max over place of finish(result[4 * window + place,n]); a NaN is the largest, and the first of equals wins.
// An invocation owns four neighbouring rows at a time, so that it compares what it has in registers.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with float_bits.wgsl and a file that defines store_window.

const REDUCES_WINDOWS: bool = true;

fn store_windows(sums: ptr<function, Sums>, part: u32, first_m: u32, first_n: u32, thread_m: u32, thread_n: u32) {
    for (var i = 0u; i < THREAD_M; i += 4u) {
        let m = row_of(i, first_m, thread_m);
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let n = column_of(j, first_n, thread_n);
            if ((GEMM_M % TILE_M == 0u || m < GEMM_M) && (GEMM_N % TILE_N == 0u || n < GEMM_N)) {
                let first = i * (THREAD_N / 4u) + j;
                var best = finished_row(part, n, (*sums)[first]);
                var winner = vec4<u32>();
                for (var place = 1u; place < 4u; place++) {
                    let rival = finished_row(part, n, (*sums)[first + place * (THREAD_N / 4u)]);
                    let wins = vec4(
                        exceeds(rival.x, best.x),
                        exceeds(rival.y, best.y),
                        exceeds(rival.z, best.z),
                        exceeds(rival.w, best.w),
                    );
                    best = select(best, rival, wins);
                    winner = select(winner, vec4(place), wins);
                }
                store_window(part, m / 4u, n, best, winner);
            }
        }
    }
}

// Results as they are compared and stored; past the last column, as if they were in it.
fn finished_row(part: u32, n: u32, values: vec4<f32>) -> vec4<f32> {
    let channel = part * GEMM_N + n;
    let last = PRODUCTS * GEMM_N - 1u;
    return vec4(
        finish(min(channel, last), values.x),
        finish(min(channel + 1u, last), values.y),
        finish(min(channel + 2u, last), values.z),
        finish(min(channel + 3u, last), values.w),
    );
}
