// conv2d.grad_input, tiled: implicit GEMM, the windows that contain a position times the filters; appended to
// gemm/tiled.wgsl.
// grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c], with GEMM's m = (n,h,w), n = c, k = (r,s,k).
// Positions with the same remainder modulo the stride (a phase) meet the same taps: a part is a phase of a group, and
// within a part the stride plays no role. m counts the positions of a phase, and k the taps that it meets.
// An invocation owns THREAD_M positions x THREAD_N channels of the input. An appended file says how they are stored.
// Defined in src/ops/conv/grad_input.rs.

@group(0) @binding(0) var<storage, read> filters: array<BPacket>;
@group(0) @binding(1) var<storage, read> grad_output: array<APacket>;

// Number of positions of a phase.
override PHASE_HEIGHT: u32;
override PHASE_WIDTH: u32;
// Step from one tap of a phase to the next, stride / gcd(stride, dilation), and the inverse of dilation / gcd modulo
// that.
override TAP_STEP_HEIGHT: u32;
override TAP_STEP_WIDTH: u32;
override TAP_INVERSE_HEIGHT: u32;
override TAP_INVERSE_WIDTH: u32;
override MOST_ROWS: u32 = (KERNEL_HEIGHT + TAP_STEP_HEIGHT - 1u) / TAP_STEP_HEIGHT;
override MOST_COLUMNS: u32 = (KERNEL_WIDTH + TAP_STEP_WIDTH - 1u) / TAP_STEP_WIDTH;
// Whether the taps of a position whose window lies inside the output are told by a bit each.
override TAPS_ARE_BITS: bool = MOST_ROWS * MOST_COLUMNS <= 32u;

// Rows and columns of the output from the window of a phase's tap back to that of the next.
override ROW_STEP: u32 = TAP_STEP_HEIGHT * DILATION_HEIGHT / STRIDE_HEIGHT;
override COLUMN_STEP: u32 = TAP_STEP_WIDTH * DILATION_WIDTH / STRIDE_WIDTH;

const A_CONTIGUOUS_IN_K: bool = true;
const B_CONTIGUOUS_IN_K: bool = false;

// Divides the length of every sum over k.
override REDUCTION_UNIT: u32 = GROUP_OUT_CHANNELS;

// The taps that a phase meets along one axis.
struct Taps {
    first: u32,
    count: u32,
    // Output position whose first tap meets the phase's first position; may wrap.
    start: u32,
}

// The taps t with t * dilation = reach modulo stride, where reach is the phase plus the padding.
fn taps(reach: u32, kernel: u32, stride: u32, dilation: u32, tap_step: u32, tap_inverse: u32) -> Taps {
    let divisor = stride / tap_step;
    let first = reach / divisor * tap_inverse % tap_step;
    if (reach % divisor != 0u || first >= kernel) {
        return Taps();
    }
    let start = (i32(reach) - i32(first * dilation)) / i32(stride);
    return Taps(first, (kernel - first + tap_step - 1u) / tap_step, u32(start));
}

fn row_taps(part: u32) -> Taps {
    let phase = part / STRIDE_WIDTH % STRIDE_HEIGHT;
    return taps(phase + PADDING_TOP, KERNEL_HEIGHT, STRIDE_HEIGHT, DILATION_HEIGHT, TAP_STEP_HEIGHT, TAP_INVERSE_HEIGHT);
}

fn column_taps(part: u32) -> Taps {
    let phase = part % STRIDE_WIDTH;
    return taps(phase + PADDING_LEFT, KERNEL_WIDTH, STRIDE_WIDTH, DILATION_WIDTH, TAP_STEP_WIDTH, TAP_INVERSE_WIDTH);
}

fn group_of(part: u32) -> u32 {
    return part / (STRIDE_HEIGHT * STRIDE_WIDTH);
}

fn reduction(part: u32) -> u32 {
    return row_taps(part).count * column_taps(part).count * GROUP_OUT_CHANNELS;
}

fn a_line(part: u32, m: u32) -> Place {
    let p = m / PHASE_WIDTH % PHASE_HEIGHT + row_taps(part).start;
    let q = m % PHASE_WIDTH + column_taps(part).start;
    let n = m / (PHASE_WIDTH * PHASE_HEIGHT);
    let offset = output_index(n, p, q, group_of(part) * GROUP_OUT_CHANNELS);
    if (TAPS_ARE_BITS) {
        return Place(offset, taps_inside(part, p, q), 0u);
    }
    return Place(offset, p, q);
}

// Of the position whose first tap belongs to the window p,q, the phase's taps whose windows lie inside the output.
fn taps_inside(part: u32, p: u32, q: u32) -> u32 {
    let columns = column_taps(part).count;
    var row = 0u;
    for (var s = 0u; s < MOST_COLUMNS; s++) {
        row |= select(0u, 1u << s, s < columns && q - s * COLUMN_STEP < OUT_WIDTH);
    }
    var taps = 0u;
    for (var r = 0u; r < MOST_ROWS; r++) {
        taps |= select(0u, row << (r * columns), p - r * ROW_STEP < OUT_HEIGHT);
    }
    return taps;
}

// For step k, the number of its tap among the phase's taps along both axes, and its channel.
fn tap_of(part: u32, k: u32) -> vec3<u32> {
    let tap = k / GROUP_OUT_CHANNELS;
    let columns = column_taps(part).count;
    // A phase that meets taps meets MOST_COLUMNS or one less along this axis; divisions by constants are cheap.
    let row = select(tap / max(MOST_COLUMNS - 1u, 1u), tap / MOST_COLUMNS, columns == MOST_COLUMNS);
    return vec3(row, tap - row * columns, k % GROUP_OUT_CHANNELS);
}

fn a_step(part: u32, k: u32) -> Place {
    let tap = tap_of(part, k);
    let p = 0u - tap.x * ROW_STEP;
    let q = 0u - tap.y * COLUMN_STEP;
    let offset = output_index(0u, p, q, tap.z);
    if (TAPS_ARE_BITS) {
        return Place(offset, 1u << (k / GROUP_OUT_CHANNELS % 32u), 0u);
    }
    return Place(offset, p, q);
}

fn a_next(step: Place, part: u32, k: u32) -> Place {
    return a_step(part, k);
}

fn a_present(line: Place, step: Place) -> bool {
    if (TAPS_ARE_BITS) {
        return (line.row & step.row) != 0u;
    }
    return line.row + step.row < OUT_HEIGHT && line.column + step.column < OUT_WIDTH;
}

fn a_packet(index: u32) -> APacket {
    return grad_output[index];
}

fn b_line(part: u32, n: u32) -> Place {
    return Place(n, 0u, 0u);
}

fn b_step(part: u32, k: u32) -> Place {
    let tap = tap_of(part, k);
    let r = row_taps(part).first + tap.x * TAP_STEP_HEIGHT;
    let s = column_taps(part).first + tap.y * TAP_STEP_WIDTH;
    return Place(filters_index(group_of(part) * GROUP_OUT_CHANNELS + tap.z, r, s, 0u), 0u, 0u);
}

fn b_next(step: Place, part: u32, k: u32) -> Place {
    // Four steps that start at a multiple of four then share their tap.
    if (GROUP_OUT_CHANNELS % 4u == 0u) {
        return Place(step.offset + filters_index(1u, 0u, 0u, 0u), 0u, 0u);
    }
    return b_step(part, k);
}

fn b_present(line: Place, step: Place) -> bool {
    return true;
}

fn b_packet(index: u32) -> BPacket {
    return filters[index];
}

fn store(part: u32, slice: u32, m: u32, n: u32, value: ResultPacket) {
    let w = m % PHASE_WIDTH * STRIDE_WIDTH + part % STRIDE_WIDTH;
    let h = m / PHASE_WIDTH % PHASE_HEIGHT * STRIDE_HEIGHT + part / STRIDE_WIDTH % STRIDE_HEIGHT;
    let image = slice * BATCH_SIZE + m / (PHASE_WIDTH * PHASE_HEIGHT);
    if (h < IN_HEIGHT && w < IN_WIDTH) {
        store_result(input_index(image, h, w, group_of(part) * GROUP_IN_CHANNELS + n) / RESULT_WIDTH, value);
    }
}
