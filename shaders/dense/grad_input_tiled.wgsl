// dense.grad_input, tiled: grad_output times the weight; appended to gemm/tiled.wgsl.
// grad_input[n,i] = sum over o of grad_output[n,o] * weight[o,i], with GEMM's (m, n, k) = (n, i, o) and one part; an appended file
// says how it is stored.
// An invocation owns THREAD_M samples x THREAD_N features of the input in one slice of the sum; gemm/slice_lanes.wgsl adds the slices.
// Defined in src/ops/dense/grad_input.rs.

@group(0) @binding(0) var<storage, read> weight: array<BPacket>;
@group(0) @binding(1) var<storage, read> grad_output: array<APacket>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = false;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(part: u32) -> u32 {
    return GEMM_K;
}

fn a_line(part: u32, m: u32) -> Place {
    return Place(m * OUT_FEATURES, 0u, 0u);
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
    return grad_output[index];
}

fn b_line(part: u32, n: u32) -> Place {
    return Place(n, 0u, 0u);
}

fn b_step(part: u32, k: u32) -> Place {
    return Place(k * IN_FEATURES, 0u, 0u);
}

fn b_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + IN_FEATURES, 0u, 0u);
}

fn b_present(line: Place, step: Place) -> bool {
    return true;
}

fn b_packet(index: u32) -> BPacket {
    return weight[index];
}

fn store(part: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    // [SLICES,N,I]
    store_result(((slice * GEMM_M + m) * GEMM_N + n) / RESULT_WIDTH, value);
}
