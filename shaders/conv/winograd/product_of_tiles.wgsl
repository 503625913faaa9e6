// conv2d.grad_filters, Winograd, second of three steps: grad_output's tiles transposed times the input's patches; appended to gemm/tiled.wgsl.
// products[part,k,c] = sum over tiles of grad_tiles[part,tile,k] * patches[part,tile,c], with GEMM's (m, n, k) = (k, c, tile).
// A part is an element (i,j) of the transformed tiles.
// Launched by src/ops/conv/gpu/winograd.rs.

@group(0) @binding(0) var<storage, read> grad_tiles: array<APacket>;
@group(0) @binding(1) var<storage, read> patches: array<BPacket>;
// [SLICES,PARTS,K,C]
@group(0) @binding(2) var<storage, read_write> products: array<ResultPacket>;

override PARTS: u32;

const A_CONTIGUOUS_IN_K: bool = false;
const B_CONTIGUOUS_IN_K: bool = false;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(part: u32) -> u32 {
    return GEMM_K;
}

fn a_line(part: u32, m: u32) -> Place {
    return Place(part * GEMM_K * GEMM_M + m, 0u, 0u);
}

fn a_step(part: u32, k: u32) -> Place {
    return Place(k * GEMM_M, 0u, 0u);
}

fn a_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + GEMM_M, 0u, 0u);
}

fn a_present(line: Place, step: Place) -> bool {
    return true;
}

fn a_packet(index: u32) -> APacket {
    return grad_tiles[index];
}

fn b_line(part: u32, n: u32) -> Place {
    return Place(part * GEMM_K * GEMM_N + n, 0u, 0u);
}

fn b_step(part: u32, k: u32) -> Place {
    return Place(k * GEMM_N, 0u, 0u);
}

fn b_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + GEMM_N, 0u, 0u);
}

fn b_present(line: Place, step: Place) -> bool {
    return true;
}

fn b_packet(index: u32) -> BPacket {
    return patches[index];
}

fn store(part: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    products[(((slice * PARTS + part) * GEMM_M + m) * GEMM_N + n) / RESULT_WIDTH] = value;
}
