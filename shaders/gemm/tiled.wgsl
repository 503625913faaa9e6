// Matrix product, tiled: result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// The file it is appended to says where the values lie (a_line, a_step, a_present, a_packet, likewise b, and store); files beside
// this one say how many are moved at a time. A part is an independent product; SLICES cut the sum over k.
// An invocation owns THREAD_M x THREAD_N results and fetches a block of 4 x 4 values of a or b for each step of TILE_K;
// a workgroup owns TILE_M x TILE_N results in one slice.
// Launched by src/ops/gemm.rs, which also appends the tile sizes as const lines.

// In units of four values.
const A_PITCH: u32 = TILE_M / 4u;
const B_PITCH: u32 = TILE_N / 4u;
const K_BLOCKS: u32 = TILE_K / 4u;
const A_BLOCKS: u32 = A_PITCH * K_BLOCKS;
const B_BLOCKS: u32 = B_PITCH * K_BLOCKS;
const THREADS_M: u32 = TILE_M / THREAD_M;
const THREADS_N: u32 = TILE_N / THREAD_N;
const INVOCATIONS: u32 = THREADS_M * THREADS_N;
const_assert A_BLOCKS + B_BLOCKS <= INVOCATIONS;
// Invocations that work together: they lie on 4 x 8 of the tile's threads, so that they share what they read.
const LANES_M: u32 = 4u;
const LANES_N: u32 = 8u;
const_assert THREADS_M % LANES_M == 0u && THREADS_N % LANES_N == 0u;
// Steps that are written out one after another.
const UNROLLED: u32 = 4u;

// [TILE_K,TILE_M] and [TILE_K,TILE_N]
var<workgroup> a_tile: array<vec4<f32>, TILE_K * A_PITCH>;
var<workgroup> b_tile: array<vec4<f32>, TILE_K * B_PITCH>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tile = workgroup_number(workgroup, workgroups);
    let tiles_n = (GEMM_N + TILE_N - 1u) / TILE_N;
    let first_m = tile / tiles_n * TILE_M;
    let first_n = tile % tiles_n * TILE_N;
    if (first_m >= GEMM_M) {
        return;
    }
    let part = workgroup.z / SLICES;
    let slice = workgroup.z % SLICES;
    let end_k = min((slice + 1u) * SLICE_K, reduction(part));

    // The block that this invocation fetches: eight neighbours take lines side by side, so that they write to
    // different banks, and the next eight the same lines further along k, so that reads fill whole sectors.
    let fetches_a = invocation < A_BLOCKS;
    let fetches_b = !fetches_a && invocation < A_BLOCKS + B_BLOCKS;
    let block = select(invocation - A_BLOCKS, invocation, fetches_a);
    let block_line = block % 8u + block / (8u * K_BLOCKS) * 8u;
    let block_k = block / 8u % K_BLOCKS * 4u;
    var lines: array<Place, 4>;
    if (fetches_a) {
        lines = a_lines(part, first_m + block_line * 4u);
    } else if (fetches_b) {
        lines = b_lines(part, first_n + block_line * 4u);
    }

    let lane = invocation % (LANES_M * LANES_N);
    let lanes = invocation / (LANES_M * LANES_N);
    let thread_m = lane / LANES_N + lanes / (THREADS_N / LANES_N) * LANES_M;
    let thread_n = lane % LANES_N + lanes % (THREADS_N / LANES_N) * LANES_N;

    var sums: array<vec4<f32>, THREAD_M * THREAD_N / 4u>;
    let begin_k = slice * SLICE_K;
    var fetched = fetch(fetches_a, fetches_b, lines, part, begin_k + block_k, end_k);
    for (var first_k = begin_k; first_k < end_k; first_k += TILE_K) {
        if (fetches_a) {
            let place = block_k * A_PITCH + block_line;
            a_tile[place] = fetched[0];
            a_tile[place + A_PITCH] = fetched[1];
            a_tile[place + 2u * A_PITCH] = fetched[2];
            a_tile[place + 3u * A_PITCH] = fetched[3];
        } else if (fetches_b) {
            let place = block_k * B_PITCH + block_line;
            b_tile[place] = fetched[0];
            b_tile[place + B_PITCH] = fetched[1];
            b_tile[place + 2u * B_PITCH] = fetched[2];
            b_tile[place + 3u * B_PITCH] = fetched[3];
        }
        workgroupBarrier();
        // The next tile is on its way while this one is worked on.
        if (first_k + TILE_K < end_k) {
            fetched = fetch(fetches_a, fetches_b, lines, part, first_k + TILE_K + block_k, end_k);
        }
        for (var some_k = 0u; some_k < TILE_K; some_k += UNROLLED) {
            let a_row = some_k * A_PITCH + thread_m;
            let b_row = some_k * B_PITCH + thread_n;
            for (var step = 0u; step < UNROLLED; step++) {
                var b: array<vec4<f32>, THREAD_N / 4u>;
                for (var j = 0u; j < THREAD_N / 4u; j++) {
                    b[j] = b_tile[b_row + step * B_PITCH + j * THREADS_N];
                }
                for (var i = 0u; i < THREAD_M / 4u; i++) {
                    let a = a_tile[a_row + step * A_PITCH + i * THREADS_M];
                    for (var j = 0u; j < THREAD_N / 4u; j++) {
                        let sum = i * THREAD_N + j;
                        sums[sum] = fma(vec4(a.x), b[j], sums[sum]);
                        sums[sum + THREAD_N / 4u] = fma(vec4(a.y), b[j], sums[sum + THREAD_N / 4u]);
                        sums[sum + THREAD_N / 2u] = fma(vec4(a.z), b[j], sums[sum + THREAD_N / 2u]);
                        sums[sum + THREAD_N / 4u * 3u] = fma(vec4(a.w), b[j], sums[sum + THREAD_N / 4u * 3u]);
                    }
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < THREAD_M; i++) {
        let m = first_m + (thread_m + i / 4u * THREADS_M) * 4u + i % 4u;
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let n = first_n + (thread_n + j * THREADS_N) * 4u;
            if ((GEMM_M % TILE_M == 0u || m < GEMM_M) && (GEMM_N % TILE_N == 0u || n < GEMM_N)) {
                store_four(part, slice, m, n, sums[i * (THREAD_N / 4u) + j]);
            }
        }
    }
}

// Column j holds four lines' values at k + j, zeros from end_k on.
fn fetch(from_a: bool, from_b: bool, lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    if (from_a) {
        return fetch_a(lines, part, k, end_k);
    }
    if (from_b) {
        return fetch_b(lines, part, k, end_k);
    }
    return mat4x4<f32>();
}

// The packet of a line at a step, or zeros where there is nothing in memory.
fn a_value(line: Place, step: Place) -> APacket {
    if (!a_present(line, step)) {
        return APacket();
    }
    return a_packet((line.offset + step.offset) / A_WIDTH);
}

fn b_value(line: Place, step: Place) -> BPacket {
    if (!b_present(line, step)) {
        return BPacket();
    }
    return b_packet((line.offset + step.offset) / B_WIDTH);
}
