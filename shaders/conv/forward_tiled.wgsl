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

// Whether the taps of a window that lie inside the image are told by a bit each.
override TAPS_ARE_BITS: bool = WINDOWS_MEET_PADDING && KERNEL_HEIGHT * KERNEL_WIDTH <= 32u;

fn reduction(group: u32) -> u32 {
    return GEMM_K;
}

// A line is a window, identified by its upper left corner; a step is a tap.
fn a_line(group: u32, m: u32) -> Place {
    let position = position_of(m);
    let h = input_row(position.p, 0u);
    let w = input_column(position.q, 0u);
    let offset = input_index(position.n, h, w, group * GROUP_IN_CHANNELS);
    if (TAPS_ARE_BITS) {
        return Place(offset, taps_inside(h, w), 0u);
    }
    return Place(offset, h, w);
}

// Of the window whose upper left corner is h,w, the taps inside the image.
fn taps_inside(h: u32, w: u32) -> u32 {
    var row = 0u;
    for (var s = 0u; s < KERNEL_WIDTH; s++) {
        row |= select(0u, 1u << s, w + s * DILATION_WIDTH < IN_WIDTH);
    }
    var taps = 0u;
    for (var r = 0u; r < KERNEL_HEIGHT; r++) {
        taps |= select(0u, row << (r * KERNEL_WIDTH), h + r * DILATION_HEIGHT < IN_HEIGHT);
    }
    return taps;
}

fn a_step(group: u32, k: u32) -> Place {
    let c = k % GROUP_IN_CHANNELS;
    let s = k / GROUP_IN_CHANNELS % KERNEL_WIDTH;
    let r = k / (GROUP_IN_CHANNELS * KERNEL_WIDTH);
    let h = r * DILATION_HEIGHT;
    let w = s * DILATION_WIDTH;
    let offset = input_index(0u, h, w, c);
    if (TAPS_ARE_BITS) {
        return Place(offset, 1u << (k / GROUP_IN_CHANNELS % 32u), 0u);
    }
    return Place(offset, h, w);
}

fn a_next(step: Place, group: u32, k: u32) -> Place {
    return a_step(group, k);
}

fn a_present(line: Place, step: Place) -> bool {
    if (TAPS_ARE_BITS) {
        return (line.row & step.row) != 0u;
    }
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
