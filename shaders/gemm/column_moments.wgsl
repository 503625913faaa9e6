// The moments of each column of a tile of results, beside the product: where a column is a channel, those of all tiles
// are the statistics of a batch.
// mean[n] = sum over m of result[m,n] / rows; squares[n] = sum over m of (result[m,n] - mean[n])^2, over the rows of a tile.
// Two passes over results in registers, so that no large sums are subtracted from each other; as a tree, in a fixed order.
// Appended to gemm/tiled.wgsl by src/ops/gemm/product.rs, with epilogue/four.wgsl and the const line MOMENTS_BINDING.

// [tiles of m,PRODUCTS * GEMM_N]: the mean, and the sum of squared differences from it
@group(0) @binding(MOMENTS_BINDING) var<storage, read_write> moments_of_tiles: array<vec2<f32>>;

const TAKES_MOMENTS: bool = true;

alias Columns = array<vec4<f32>, THREAD_N / 4u>;

const_assert THREADS_M * B_PITCH <= TILES * TILE_PACKETS;
// Half of them add the other half's sums, and so on.
const_assert countOneBits(THREADS_M) == 1u;

fn store_moments(sums: ptr<function, Sums>, part: u32, first_m: u32, first_n: u32, thread_m: u32, thread_n: u32) {
    let rows = f32(min(TILE_M, GEMM_M - first_m));
    let last = PRODUCTS * GEMM_N - 1u;
    var means: Columns;
    for (var i = 0u; i < THREAD_M; i++) {
        let is_inside = GEMM_M % TILE_M == 0u || row_of(i, first_m, thread_m) < GEMM_M;
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let values = finished_four(part * GEMM_N + column_of(j, first_n, thread_n), last, (*sums)[i * (THREAD_N / 4u) + j]);
            means[j] += select(vec4<f32>(), values, is_inside);
        }
    }
    means = over_all_rows(means, thread_m, thread_n);
    for (var j = 0u; j < THREAD_N / 4u; j++) {
        means[j] /= rows;
    }
    var squares: Columns;
    for (var i = 0u; i < THREAD_M; i++) {
        let is_inside = GEMM_M % TILE_M == 0u || row_of(i, first_m, thread_m) < GEMM_M;
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let values = finished_four(part * GEMM_N + column_of(j, first_n, thread_n), last, (*sums)[i * (THREAD_N / 4u) + j]);
            let differences = values - means[j];
            squares[j] += select(vec4<f32>(), differences * differences, is_inside);
        }
    }
    squares = over_all_rows(squares, thread_m, thread_n);
    if (thread_m == 0u) {
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let n = column_of(j, first_n, thread_n);
            for (var i = 0u; i < 4u && n + i < GEMM_N; i++) {
                let index = (first_m / TILE_M * PRODUCTS + part) * GEMM_N + n + i;
                moments_of_tiles[index] = vec2(means[j][i], squares[j][i]);
            }
        }
    }
}

// The sum of what all invocations with the same columns hold, for each of them. The product's tiles are not needed any more.
fn over_all_rows(own: Columns, thread_m: u32, thread_n: u32) -> Columns {
    workgroupBarrier();
    for (var j = 0u; j < THREAD_N / 4u; j++) {
        tiles[thread_m * B_PITCH + thread_n + j * THREADS_N] = own[j];
    }
    for (var span = THREADS_M / 2u; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (thread_m < span) {
            for (var j = 0u; j < THREAD_N / 4u; j++) {
                let place = thread_m * B_PITCH + thread_n + j * THREADS_N;
                tiles[place] += tiles[place + span * B_PITCH];
            }
        }
    }
    workgroupBarrier();
    var sums: Columns;
    for (var j = 0u; j < THREAD_N / 4u; j++) {
        sums[j] = tiles[thread_n + j * THREADS_N];
    }
    return sums;
}
