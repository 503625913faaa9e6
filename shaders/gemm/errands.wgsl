// Errands of a matrix product: the blocks of 4 x 4 values of a and b that an invocation fetches for each step of TILE_K, and puts
// into workgroup memory. While one step is multiplied, the values of the next are on their way.
// Appended by src/ops/gemm to the kernels that compute products in tiles, which define TILE_M, TILE_N, TILE_K, INVOCATIONS, PADDING
// (packets between the lines of a and of b for one k and those for the next) and FIRST_B (the place of the first packet of b).

// In units of four values.
const A_PACKETS: u32 = TILE_M / 4u;
const B_PACKETS: u32 = TILE_N / 4u;
const A_PITCH: u32 = A_PACKETS + PADDING;
const B_PITCH: u32 = B_PACKETS + PADDING;
const K_BLOCKS: u32 = TILE_K / 4u;
const A_BLOCKS: u32 = A_PACKETS * K_BLOCKS;
const B_BLOCKS: u32 = B_PACKETS * K_BLOCKS;
// Whether an invocation may fetch a block of a and one of b, rather than of only one of them.
const FETCHES_BOTH: bool = A_BLOCKS + B_BLOCKS > INVOCATIONS;
const_assert A_BLOCKS <= INVOCATIONS && B_BLOCKS <= INVOCATIONS;

// Whether no step goes past the end of its part's sum.
override WHOLE_STEPS: bool = REDUCTION_UNIT % TILE_K == 0u;

// Column j holds the values of four lines at k + j as read from memory, the factors that those of a are yet to be
// multiplied by, and whether they are present: otherwise they are zero.
struct Block {
    values: mat4x4<f32>,
    factors: mat4x4<f32>,
    present: array<vec4<bool>, 4>,
}

// A block that an invocation fetches for each step (of a, of b, or none): its lines, the number of the first in fours, its first
// k, and its place in a tile.
struct Errand {
    is_a: bool,
    is_b: bool,
    lines: array<Place, 4>,
    line: u32,
    k: u32,
    place: u32,
    pitch: u32,
}

// The errands of an invocation; without FETCHES_BOTH, the first is all there is.
struct Errands {
    first: Errand,
    second: Errand,
}

fn errands_of(invocation: u32, part: u32, first_m: u32, first_n: u32) -> Errands {
    let is_a = invocation < A_BLOCKS;
    let is_any = A_BLOCKS + B_BLOCKS == INVOCATIONS || invocation < A_BLOCKS + B_BLOCKS;
    var errands: Errands;
    if (FETCHES_BOTH) {
        errands.first = errand_of(A_BLOCKS == INVOCATIONS || is_a, false, invocation, part, first_m, first_n);
        errands.second = errand_of(false, B_BLOCKS == INVOCATIONS || invocation < B_BLOCKS, invocation, part, first_m, first_n);
    } else {
        errands.first =
            errand_of(is_a, !is_a && is_any, select(invocation - A_BLOCKS, invocation, is_a), part, first_m, first_n);
    }
    return errands;
}

// Eight neighbours take adjacent lines (or as many as there are), so that they write to different banks, and the next eight take
// the same lines further along k, so that reads fill whole sectors.
fn errand_of(is_a: bool, is_b: bool, number: u32, part: u32, first_m: u32, first_n: u32) -> Errand {
    let pitch = select(B_PITCH, A_PITCH, is_a);
    let neighbours = min(8u, select(B_PACKETS, A_PACKETS, is_a));
    let line = number % neighbours + number / (neighbours * K_BLOCKS) * neighbours;
    let k = number / neighbours % K_BLOCKS * 4u;
    let place = select(FIRST_B, 0u, is_a) + k * pitch + line;
    var lines: array<Place, 4>;
    if (is_a) {
        lines = a_lines(part, first_m + line * 4u);
    } else if (is_b) {
        lines = b_lines(part, first_n + line * 4u);
    }
    return Errand(is_a, is_b, lines, line, k, place, pitch);
}

fn fetch(errand: Errand, part: u32, first_k: u32, end_k: u32) -> Block {
    if (errand.is_a) {
        return fetch_a(errand.lines, part, first_k + errand.k, end_k);
    }
    if (errand.is_b) {
        return fetch_b(errand.lines, part, first_k + errand.k, end_k);
    }
    return Block();
}

// The values of a block as they are multiplied. This is their first use, before which the loads need not have finished.
fn finished(errand: Errand, block: Block) -> mat4x4<f32> {
    var values = block.values;
    if (errand.is_a) {
        for (var j = 0u; j < 4u; j++) {
            values[j] = a_finished(block.values[j], block.factors[j]);
        }
    }
    for (var j = 0u; j < 4u; j++) {
        values[j] = select(vec4<f32>(), values[j], block.present[j]);
    }
    return values;
}

fn a_is_there(line: Place, step: Place, k: u32, end_k: u32) -> bool {
    return (WHOLE_STEPS || k < end_k) && a_present(line, step);
}

fn b_is_there(line: Place, step: Place, k: u32, end_k: u32) -> bool {
    return (WHOLE_STEPS || k < end_k) && b_present(line, step);
}

// Index of the packet of a line at a step, or any valid index if it is not in memory. The load then needs no branch, at
// the end of which it would be waited for.
fn a_index(line: Place, step: Place, present: bool) -> u32 {
    return select(0u, (line.offset + step.offset) / A_WIDTH, present);
}

fn b_index(line: Place, step: Place, present: bool) -> u32 {
    return select(0u, (line.offset + step.offset) / B_WIDTH, present);
}
