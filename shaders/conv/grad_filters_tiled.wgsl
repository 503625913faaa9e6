// conv2d.grad_filters, tiled: implicit GEMM, grad_output transposed times the patches of the input; appended to gemm/tiled.wgsl.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c], with GEMM's m = k, n = (r,s,c), k = (n,p,q); a part is a group.
// An invocation owns THREAD_M filters x THREAD_N taps in one slice of the positions; gemm/slice_lanes.wgsl adds the slices.
// Defined in src/ops/conv/grad_filters.rs.

@group(0) @binding(0) var<storage, read> input: array<BPacket>;
@group(0) @binding(1) var<storage, read> grad_output: array<APacket>;
// [SLICES,K,R,S,C/groups]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<ResultPacket>;

const A_CONTIGUOUS_IN_K: bool = false;
const B_CONTIGUOUS_IN_K: bool = false;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GEMM_K;

fn reduction(group: u32) -> u32 {
    return GEMM_K;
}

fn a_line(group: u32, m: u32) -> Place {
    return Place(group * GROUP_OUT_CHANNELS + m, 0u, 0u);
}

fn a_step(group: u32, k: u32) -> Place {
    return Place(k * OUT_CHANNELS, 0u, 0u);
}

fn a_next(step: Place, group: u32, k: u32) -> Place {
    return Place(step.offset + OUT_CHANNELS, 0u, 0u);
}

fn a_present(line: Place, step: Place) -> bool {
    return true;
}

fn a_packet(index: u32) -> APacket {
    return grad_output[index];
}

// A line is a tap; a step is a window, identified by its upper left corner.
fn b_line(group: u32, n: u32) -> Place {
    let c = n % GROUP_IN_CHANNELS;
    let s = n / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = n / (GROUP_IN_CHANNELS * KERNEL_WIDTH);
    let h = r * DILATION_HEIGHT;
    let w = s * DILATION_WIDTH;
    return Place(input_index(0u, h, w, group * GROUP_IN_CHANNELS + c), h, w);
}

fn b_step(group: u32, k: u32) -> Place {
    let q = k % OUT_WIDTH;
    let p = k / OUT_WIDTH % OUT_HEIGHT;
    let n = k / (OUT_WIDTH * OUT_HEIGHT);
    let h = input_row(p, 0u);
    let w = input_column(q, 0u);
    if (OUTPUT_COVERS_INPUT) {
        return Place((k - PADDING_TOP * IN_WIDTH - PADDING_LEFT) * IN_CHANNELS, h, w);
    }
    return Place(input_index(n, h, w, 0u), h, w);
}

// The window to the right, or the first of the next row; k grows by one within a group of four that starts at a
// multiple of four.
fn b_next(step: Place, group: u32, k: u32) -> Place {
    var next = Place(step.offset + STRIDE_WIDTH * IN_CHANNELS, step.row, step.column + STRIDE_WIDTH);
    if (OUT_WIDTH % 4u == 0u) {
        return next;
    }
    if (next.column + PADDING_LEFT == OUT_WIDTH * STRIDE_WIDTH) {
        next.column -= OUT_WIDTH * STRIDE_WIDTH;
        next.row += STRIDE_HEIGHT;
        next.offset += (STRIDE_HEIGHT * IN_WIDTH) * IN_CHANNELS;
        next.offset -= (OUT_WIDTH * STRIDE_WIDTH) * IN_CHANNELS;
    }
    if (next.row + PADDING_TOP == OUT_HEIGHT * STRIDE_HEIGHT) {
        next.row -= OUT_HEIGHT * STRIDE_HEIGHT;
        next.offset += IN_HEIGHT * IN_WIDTH * IN_CHANNELS;
        next.offset -= (OUT_HEIGHT * STRIDE_HEIGHT) * IN_WIDTH * IN_CHANNELS;
    }
    return next;
}

fn b_present(line: Place, step: Place) -> bool {
    return !WINDOWS_MEET_PADDING || (line.row + step.row < IN_HEIGHT && line.column + step.column < IN_WIDTH);
}

fn b_packet(index: u32) -> BPacket {
    return input[index];
}

fn store(group: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    grad_filters[((slice * OUT_CHANNELS + group * GROUP_OUT_CHANNELS + m) * GEMM_N + n) / RESULT_WIDTH] = value;
}
