// Matrix product in the registers of a subgroup: result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// Appended to the same files as gemm/tiled.wgsl; a part is an independent product.
// An invocation owns 4 x TILE_N results and fetches blocks of 4 x 4 values of a for itself, and of b for all; a
// workgroup of 8 invocations, which share a subgroup, owns 32 x TILE_N results in one slice of k.
// Launched by src/ops/gemm/subgroup.rs, which also appends TILE_N as a const line.

const LANES: u32 = 8u;
const TILE_M: u32 = 4u * LANES;
// Columns of the tile are fetched and multiplied in fours.
const QUADS: u32 = TILE_N / 4u;
// Invocations beyond the number of quads fetch b further along k.
const BLOCKS_K: u32 = LANES / QUADS;
// The results, in quads of columns; column i of a matrix holds those of row i. All loops over them are written out,
// since drivers unroll only short loops, and an array that is indexed in a loop is kept in memory instead of registers.
alias Sums = array<mat4x4<f32>, 8>;
const_assert TILE_N % 4u == 0u && LANES % QUADS == 0u;

@compute @workgroup_size(LANES)
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
    let rows = a_lines(part, first_m + invocation * 4u);
    let columns = b_lines(part, first_n + invocation % QUADS * 4u);
    let block_k = invocation / QUADS * 4u;

    var sums: Sums;
    for (var k = slice * SLICE_K; k < end_k; k += 4u * BLOCKS_K) {
        let b = fetch_b(columns, part, k + block_k, end_k);
        add_products(&sums, transpose(fetch_a(rows, part, k, end_k)), b, 0u);
        if (BLOCKS_K > 1u) {
            add_products(&sums, transpose(fetch_a(rows, part, k + 4u, end_k)), b, QUADS);
        }
        if (BLOCKS_K > 2u) {
            add_products(&sums, transpose(fetch_a(rows, part, k + 8u, end_k)), b, 2u * QUADS);
            add_products(&sums, transpose(fetch_a(rows, part, k + 12u, end_k)), b, 3u * QUADS);
        }
    }

    // One row at a time: dozens of unrolled stores would take longer to compile than everything else.
    let m = first_m + invocation * 4u;
    let end_m = min(m + 4u, GEMM_M);
    for (var row = m; row < end_m; row++) {
        store_next_row(&sums, part, slice, row, first_n);
    }
}

// Adds a block of a times the blocks of b that QUADS invocations, from `lane` on, have fetched. Column i of a holds row
// i.
fn add_products(sums: ptr<function, Sums>, a: mat4x4<f32>, b: mat4x4<f32>, lane: u32) {
    (*sums)[0] += of_lane(b, lane) * a;
    if (QUADS > 1u) {
        (*sums)[1] += of_lane(b, lane + 1u) * a;
    }
    if (QUADS > 2u) {
        (*sums)[2] += of_lane(b, lane + 2u) * a;
        (*sums)[3] += of_lane(b, lane + 3u) * a;
    }
    if (QUADS > 4u) {
        (*sums)[4] += of_lane(b, lane + 4u) * a;
        (*sums)[5] += of_lane(b, lane + 5u) * a;
        (*sums)[6] += of_lane(b, lane + 6u) * a;
        (*sums)[7] += of_lane(b, lane + 7u) * a;
    }
}

// The block that an invocation fetched: column j holds four columns of b at its k + j.
fn of_lane(b: mat4x4<f32>, lane: u32) -> mat4x4<f32> {
    return mat4x4(
        subgroupShuffle(b[0], lane),
        subgroupShuffle(b[1], lane),
        subgroupShuffle(b[2], lane),
        subgroupShuffle(b[3], lane),
    );
}

// The lines of four rows, or the single line of a packet that contains them; past the end, those of the last rows.
fn a_lines(part: u32, m: u32) -> array<Place, 4> {
    if (A_WIDTH == 4u && !A_CONTIGUOUS_IN_K) {
        return array(a_line(part, min(m, max(GEMM_M, 4u) - 4u)), Place(), Place(), Place());
    }
    let last = GEMM_M - 1u;
    return array(
        a_line(part, min(m, last)),
        a_line(part, min(m + 1u, last)),
        a_line(part, min(m + 2u, last)),
        a_line(part, min(m + 3u, last)),
    );
}

fn b_lines(part: u32, n: u32) -> array<Place, 4> {
    if (B_WIDTH == 4u && !B_CONTIGUOUS_IN_K) {
        return array(b_line(part, min(n, max(GEMM_N, 4u) - 4u)), Place(), Place(), Place());
    }
    let last = GEMM_N - 1u;
    return array(
        b_line(part, min(n, last)),
        b_line(part, min(n + 1u, last)),
        b_line(part, min(n + 2u, last)),
        b_line(part, min(n + 3u, last)),
    );
}

// The packet of a line at k, or zeros if it is not in memory. There is no branch, since the lanes would diverge: they
// always load from a valid index, and select.
fn a_or_zero(line: Place, part: u32, k: u32, end_k: u32) -> APacket {
    let step = a_step(part, min(k, end_k - 1u));
    let present = k < end_k && a_present(line, step);
    let index = select(0u, (line.offset + step.offset) / A_WIDTH, present);
    return select(APacket(), a_finished_packet(index), present);
}

fn b_or_zero(line: Place, part: u32, k: u32, end_k: u32) -> BPacket {
    let step = b_step(part, min(k, end_k - 1u));
    let present = k < end_k && b_present(line, step);
    let index = select(0u, (line.offset + step.offset) / B_WIDTH, present);
    return select(BPacket(), b_packet(index), present);
}

// Stores the first of the remaining rows.
fn store_next_row(sums: ptr<function, Sums>, part: u32, slice: u32, m: u32, n: u32) {
    store_next_quad(sums, 0u, part, slice, m, n);
    if (QUADS > 1u) {
        store_next_quad(sums, 1u, part, slice, m, n + 4u);
    }
    if (QUADS > 2u) {
        store_next_quad(sums, 2u, part, slice, m, n + 8u);
        store_next_quad(sums, 3u, part, slice, m, n + 12u);
    }
    if (QUADS > 4u) {
        store_next_quad(sums, 4u, part, slice, m, n + 16u);
        store_next_quad(sums, 5u, part, slice, m, n + 20u);
        store_next_quad(sums, 6u, part, slice, m, n + 24u);
        store_next_quad(sums, 7u, part, slice, m, n + 28u);
    }
}

fn store_next_quad(sums: ptr<function, Sums>, quad: u32, part: u32, slice: u32, m: u32, n: u32) {
    let rows = (*sums)[quad];
    if (GEMM_N % TILE_N == 0u || n < GEMM_N) {
        store_four(part, slice, m, n, rows[0]);
    }
    (*sums)[quad] = mat4x4(rows[1], rows[2], rows[3], rows[0]);
}
