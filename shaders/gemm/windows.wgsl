// Of each window of four rows, the largest finished results are stored, and which of the four they were.
// best[window,n] = max over place of finish(result[4 * window + place,n]); a NaN is the largest, and the first of equals wins.
// An invocation owns four neighbouring rows at a time, so that it compares what it has in registers.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with epilogue/four.wgsl and files that define best_of and store_best.

const REDUCES_WINDOWS: bool = true;

fn store_windows(sums: ptr<function, Sums>, part: u32, first_m: u32, first_n: u32, thread_m: u32, thread_n: u32) {
    let next = THREAD_N / 4u;
    let last = PRODUCTS * GEMM_N - 1u;
    for (var i = 0u; i < THREAD_M; i += 4u) {
        let m = row_of(i, first_m, thread_m);
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let n = column_of(j, first_n, thread_n);
            if ((GEMM_M % TILE_M == 0u || m < GEMM_M) && (GEMM_N % TILE_N == 0u || n < GEMM_N)) {
                let channel = part * GEMM_N + n;
                let first = i * next + j;
                let best = best_of(
                    finished_four(channel, last, (*sums)[first]),
                    finished_four(channel, last, (*sums)[first + next]),
                    finished_four(channel, last, (*sums)[first + 2u * next]),
                    finished_four(channel, last, (*sums)[first + 3u * next]),
                );
                store_best(m / 4u * PRODUCTS * GEMM_N + channel, GEMM_N - n, best);
            }
        }
    }
}
