// conv2d.forward and conv2d.grad_input, Winograd, second of three steps: patches times filters; appended to gemm/tiled.wgsl.
// products[part,tile,result channel] = sum over summed channels of patches[part,tile,summed] * filters[part,k,c], with GEMM's (m, n, k) = (tile, result, summed).
// A part is an element (i,j) of the transformed patches. Forward sums over c, the gradient over k.
// Launched by src/ops/conv/gpu/winograd.rs.

@group(0) @binding(0) var<storage, read> patches: array<APacket>;
// [PARTS,K,C]
@group(0) @binding(1) var<storage, read> filters: array<BPacket>;
// [SLICES,PARTS,TILES,result channels]
@group(0) @binding(2) var<storage, read_write> products: array<ResultPacket>;

override PARTS: u32;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = GRADIENT == 0u;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(part: u32) -> u32 {
    return GEMM_K;
}

fn a_line(part: u32, m: u32) -> Place {
    return Place((part * GEMM_M + m) * GEMM_K, 0u, 0u);
}

fn a_step(part: u32, k: u32) -> Place {
    return Place(k, 0u, 0u);
}

fn a_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + 1u, 0u, 0u);
}

fn a_present(line: Place, step: Place) -> bool {
    return true;
}

fn a_packet(index: u32) -> APacket {
    return patches[index];
}

fn b_line(part: u32, n: u32) -> Place {
    return Place(part * GEMM_K * GEMM_N + select(n, n * GEMM_K, B_CONTIGUOUS_IN_K), 0u, 0u);
}

fn b_step(part: u32, k: u32) -> Place {
    return Place(select(k * GEMM_N, k, B_CONTIGUOUS_IN_K), 0u, 0u);
}

fn b_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + select(GEMM_N, 1u, B_CONTIGUOUS_IN_K), 0u, 0u);
}

fn b_present(line: Place, step: Place) -> bool {
    return true;
}

fn b_packet(index: u32) -> BPacket {
    return filters[index];
}

fn store(part: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    products[(((slice * PARTS + part) * GEMM_M + m) * GEMM_N + n) / RESULT_WIDTH] = value;
}
