// conv2d.forward, tiled: implicit GEMM, the patches of the input times the filters; appended to gemm/tiled.wgsl.
// output[n,p,q,k] = sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c], with GEMM's n = k, k = (r,s,c), and the position n,p,q of m in an appended file; a part is a group.
// An invocation owns THREAD_M positions x THREAD_N channels of the output.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<APacket>;
@group(0) @binding(1) var<storage, read> filters: array<BPacket>;
@group(0) @binding(2) var<storage, read_write> output: array<ResultPacket>;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = true;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(group: u32) -> u32 {
    return GEMM_K;
}

// A line is a window, identified by its upper left corner; a step is a tap.
fn a_line(group: u32, m: u32) -> Place {
    let position = position_of(m);
    let h = input_row(position.p, 0u);
    let w = input_column(position.q, 0u);
    return Place(input_index(position.n, h, w, group * GROUP_IN_CHANNELS), h, w);
}

fn a_step(group: u32, k: u32) -> Place {
    let c = k % GROUP_IN_CHANNELS;
    let s = k / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = k / (GROUP_IN_CHANNELS * KERNEL_WIDTH);
    let h = r * DILATION_HEIGHT;
    let w = s * DILATION_WIDTH;
    return Place(input_index(0u, h, w, c), h, w);
}

fn a_next(step: Place, group: u32, k: u32) -> Place {
    return a_step(group, k);
}

fn a_present(line: Place, step: Place) -> bool {
    return !WINDOWS_MEET_PADDING || (line.row + step.row < IN_HEIGHT && line.column + step.column < IN_WIDTH);
}

fn a_packet(index: u32) -> APacket {
    return input[index];
}

fn b_line(group: u32, n: u32) -> Place {
    return Place((group * GROUP_OUT_CHANNELS + n) * GEMM_K, 0u, 0u);
}

fn b_step(group: u32, k: u32) -> Place {
    return Place(k, 0u, 0u);
}

fn b_next(step: Place, group: u32, k: u32) -> Place {
    return Place(step.offset + 1u, 0u, 0u);
}

fn b_present(line: Place, step: Place) -> bool {
    return true;
}

fn b_packet(index: u32) -> BPacket {
    return filters[index];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    let k = group * GROUP_OUT_CHANNELS + n;
    output[((slice * GEMM_M + m) * OUT_CHANNELS + k) / RESULT_WIDTH] = finish_packet(k, value);
}
