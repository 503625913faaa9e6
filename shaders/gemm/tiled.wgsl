// Matrix product, tiled: result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// The file that it is appended to defines where the values are (a_line, a_step, a_next, a_present, a_packet, likewise
// b, and store); files beside this one define how many are moved at a time, whether the sums over k of the lines of a and
// the moments of the results' columns are wanted, and whether each row is stored or of each four only the largest results. A
// part is an independent product; the sum over k is split into SLICES.
// An invocation owns THREAD_M x THREAD_N results and fetches a block of 4 x 4 values of a, of b, or of both for each step
// of TILE_K; a workgroup owns TILE_M x TILE_N results in one slice. Where there are few of them, several groups of its
// invocations share its results: each multiplies its own k of a step, and their sums are added at the end.
// Launched by src/ops/gemm/tiled.rs, which also appends the tile sizes as const lines.

const THREADS_M: u32 = TILE_M / THREAD_M;
const THREADS_N: u32 = TILE_N / THREAD_N;
const GROUP: u32 = THREADS_M * THREADS_N;
const INVOCATIONS: u32 = GROUP * GROUPS_OF_K;
// Of a step, those that a group multiplies.
const GROUP_K: u32 = TILE_K / GROUPS_OF_K;
// Invocations that run together own 4 x 8 of the tile's threads, or 8 x 4 in a narrow one, so that they share the values
// that they read. Of two neighbours, and of those next to them, one has the same place in m or in n as the other: hardware that
// serves a quarter of them at a time then reads fewer packets.
const LANES_N: u32 = min(8u, THREADS_N);
const LANES_M: u32 = 32u / LANES_N;
const_assert THREADS_M % LANES_M == 0u && THREADS_N % LANES_N == 0u;
// Number of steps that are unrolled.
const UNROLLED: u32 = 4u;
const_assert GROUP % 32u == 0u && GROUP_K % UNROLLED == 0u;

// a [TILE_K,TILE_M], followed by b [TILE_K,TILE_N], once or twice: while one is read, the other is filled.
const PADDING: u32 = 0u;
const FIRST_B: u32 = TILE_K * A_PITCH;
const TILE_PACKETS: u32 = TILE_K * (A_PITCH + B_PITCH);
var<workgroup> tiles: array<vec4<f32>, TILES * TILE_PACKETS>;

// The results of an invocation: row i, then the four columns j.
const COUNT: u32 = THREAD_M * THREAD_N / 4u;
alias Sums = array<vec4<f32>, COUNT>;
const_assert GROUPS_OF_K == 1u || GROUP * COUNT <= TILES * TILE_PACKETS;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let share = share_of(workgroup_number(workgroup, workgroups), TILE_M, TILE_N);
    let first_m = share.first_m;
    let first_n = share.first_n;
    let part = share.part;
    let slice = share.slice;
    if (part >= PRODUCTS) {
        return;
    }
    let end_k = min((slice + 1u) * SLICE_K, reduction(part));

    let errands = errands_of(invocation, part, first_m, first_n);
    let errand = errands.first;
    let second = errands.second;

    let lane = invocation % (LANES_M * LANES_N);
    let lanes = invocation % GROUP / (LANES_M * LANES_N);
    let group = invocation / GROUP;
    let thread_m = lane % 2u + lane / (2u * LANES_N) * 2u + lanes / (THREADS_N / LANES_N) * LANES_M;
    let thread_n = lane / 2u % LANES_N + lanes % (THREADS_N / LANES_N) * LANES_N;

    var sums: Sums;
    // One workgroup for each line of a, slice and part sums the lines, as it fetches them.
    let sums_lines = SUMS_LINES && first_n == 0u;
    var own_line_sums: vec4<f32>;
    let begin_k = slice * SLICE_K;
    var block: Block;
    var second_block: Block;
    // A slice may start after the end of a short part.
    if (begin_k < end_k) {
        block = fetch(errand, part, begin_k, end_k);
        if (FETCHES_BOTH) {
            second_block = fetch(second, part, begin_k, end_k);
        }
    }
    var half = 0u;
    for (var first_k = begin_k; first_k < end_k; first_k += TILE_K) {
        let values = finished(errand, block);
        put(errand, half, values);
        if (sums_lines) {
            own_line_sums += values[0] + values[1] + values[2] + values[3];
        }
        if (FETCHES_BOTH) {
            put(second, half, finished(second, second_block));
        }
        workgroupBarrier();
        // The next tile is loaded while this one is multiplied.
        if (first_k + TILE_K < end_k) {
            block = fetch(errand, part, first_k + TILE_K, end_k);
            if (FETCHES_BOTH) {
                second_block = fetch(second, part, first_k + TILE_K, end_k);
            }
        }
        for (var some_k = 0u; some_k < GROUP_K; some_k += UNROLLED) {
            let first_row = group * GROUP_K + some_k;
            let a_row = half + first_row * A_PITCH + thread_m;
            let b_row = half + TILE_K * A_PITCH + first_row * B_PITCH + thread_n;
            for (var step = 0u; step < UNROLLED; step++) {
                var b: array<vec4<f32>, THREAD_N / 4u>;
                for (var j = 0u; j < THREAD_N / 4u; j++) {
                    b[j] = tiles[b_row + step * B_PITCH + j * THREADS_N];
                }
                for (var i = 0u; i < THREAD_M / 4u; i++) {
                    let a = tiles[a_row + step * A_PITCH + i * THREADS_M];
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
        if (TILES == 1u) {
            workgroupBarrier();
        } else {
            half = TILE_PACKETS - half;
        }
    }
    if (sums_lines) {
        // What is left in the tiles is multiplied.
        workgroupBarrier();
        if (errand.is_a) {
            tiles[errand.place] = own_line_sums;
        }
        workgroupBarrier();
        if (invocation < A_PITCH) {
            var total: vec4<f32>;
            for (var k = 0u; k < TILE_K; k += 4u) {
                total += tiles[k * A_PITCH + invocation];
            }
            store_line_sums(part, slice, first_m + invocation * 4u, total);
        }
    }
    if (GROUPS_OF_K > 1u) {
        add_groups(&sums, group, thread_m + thread_n * THREADS_M);
    }
    if (TAKES_MOMENTS) {
        store_moments(&sums, part, first_m, first_n, thread_m, thread_n);
    }
    if (group > 0u) {
        return;
    }
    if (REDUCES_WINDOWS) {
        store_windows(&sums, part, first_m, first_n, thread_m, thread_n);
        return;
    }
    for (var i = 0u; i < THREAD_M; i++) {
        let m = row_of(i, first_m, thread_m);
        for (var j = 0u; j < THREAD_N / 4u; j++) {
            let n = column_of(j, first_n, thread_n);
            if ((GEMM_M % TILE_M == 0u || m < GEMM_M) && (GEMM_N % TILE_N == 0u || n < GEMM_N)) {
                store_four(part, slice, m, n, sums[i * (THREAD_N / 4u) + j]);
            }
        }
    }
}

// Adds the sums of all groups to those of the first. The product's tiles are not needed any more.
fn add_groups(sums: ptr<function, Sums>, group: u32, thread: u32) {
    for (var other = 1u; other < GROUPS_OF_K; other++) {
        workgroupBarrier();
        if (group == other) {
            for (var i = 0u; i < COUNT; i++) {
                tiles[i * GROUP + thread] = (*sums)[i];
            }
        }
        workgroupBarrier();
        if (group == 0u) {
            for (var i = 0u; i < COUNT; i++) {
                (*sums)[i] += tiles[i * GROUP + thread];
            }
        }
    }
}

// The row of an invocation's results i.
fn row_of(i: u32, first_m: u32, thread_m: u32) -> u32 {
    return first_m + (thread_m + i / 4u * THREADS_M) * 4u + i % 4u;
}

// The first of the four columns of an invocation's results j.
fn column_of(j: u32, first_n: u32, thread_n: u32) -> u32 {
    return first_n + (thread_n + j * THREADS_N) * 4u;
}

fn put(errand: Errand, half: u32, values: mat4x4<f32>) {
    if (errand.is_a || errand.is_b) {
        for (var j = 0u; j < 4u; j++) {
            tiles[half + errand.place + j * errand.pitch] = values[j];
        }
    }
}
