// dense.grad_weight, tiled: grad_output transposed times the input; appended to gemm/tiled.wgsl.
// grad_weight[o,i] = sum over n of grad_output[n,o] * input[n,i], with GEMM's (m, n, k) = (o, i, n) and one part.
// An invocation owns THREAD_M x THREAD_N weights in one slice of the sum; gemm/slice_lanes.wgsl adds the slices.
// Defined in src/ops/dense/grad_weight.rs.

@group(0) @binding(0) var<storage, read> input: array<BPacket>;
@group(0) @binding(1) var<storage, read> grad_output: array<APacket>;
// [SLICES,O,I]
@group(0) @binding(2) var<storage, read_write> grad_weight: array<ResultPacket>;

const A_CONTIGUOUS_IN_K: bool = false;
const B_CONTIGUOUS_IN_K: bool = false;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(part: u32) -> u32 {
    return GEMM_K;
}

fn a_line(part: u32, m: u32) -> Place {
    return Place(m, 0u, 0u);
}

fn a_step(part: u32, k: u32) -> Place {
    return Place(k * OUT_FEATURES, 0u, 0u);
}

fn a_next(step: Place, part: u32, k: u32) -> Place {
    return Place(step.offset + OUT_FEATURES, 0u, 0u);
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
    return input[index];
}

fn store(part: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    grad_weight[((slice * GEMM_M + m) * GEMM_N + n) / RESULT_WIDTH] = value;
}
