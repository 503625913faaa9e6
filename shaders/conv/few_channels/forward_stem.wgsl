// conv2d.forward, stem: for images of few channels.
// output[n,p,q,k] = sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c].
// An invocation owns QUADS times four filters at a strip of STRIP positions in each of STRIP_ROWS rows: the COLUMNS input
// values under TAPS taps of a channel are read once for all positions of a row. A workgroup owns LANES times that many filters
// in PLACES strips, and stages their weights STAGED_ROWS filter rows at a time. An appended file stores each position, or the
// largest of each window of 2 x 2.
// Defined in src/ops/conv/forward.rs; src/ops/conv/gpu/few_channels/stem.rs appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> filters: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<Packet>;

const INVOCATIONS: u32 = LANES * PLACES;
const BLOCK: u32 = LANES * QUADS;
// One more than the number of quads, so that weights that are neighbours in memory lie in different banks.
const PITCH: u32 = BLOCK + 1u;

override FILTER: u32 = KERNEL_HEIGHT * KERNEL_WIDTH * IN_CHANNELS;
override ROW_WEIGHTS: u32 = KERNEL_WIDTH * IN_CHANNELS;

// Row by row, position by position.
alias Sums = array<vec4<f32>, STRIP_ROWS * STRIP * QUADS>;

// [STAGED_ROWS,S,C,BLOCK], each of four filters
var<workgroup> staged: array<vec4<f32>, STAGED>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // Consecutive workgroups share positions, so that they read the same pixels.
    let number = workgroup_number(workgroup, workgroups);
    let blocks = (OUT_CHANNELS + 4u * BLOCK - 1u) / (4u * BLOCK);
    let first_quad = number % blocks * BLOCK;
    let lane = invocation % LANES;
    let strip = output_strip(number / blocks * PLACES + invocation / LANES);
    let first_w = input_column(strip.first_q, 0u);
    var sums: Sums;
    for (var first_r = 0u; first_r < KERNEL_HEIGHT; first_r += STAGED_ROWS) {
        let end_r = min(first_r + STAGED_ROWS, KERNEL_HEIGHT);
        stage(first_quad, first_r, (end_r - first_r) * ROW_WEIGHTS, invocation);
        // Rows and channels share one loop, so that drivers do not unroll it, which would take too many registers.
        for (var line = 0u; line < (end_r - first_r) * IN_CHANNELS; line++) {
            let c = line % IN_CHANNELS;
            let r = first_r + line / IN_CHANNELS;
            if (strip.n >= BATCH_SIZE || !meets_image(strip.first_p, r)) {
                continue;
            }
            for (var first_s = 0u; first_s < KERNEL_WIDTH; first_s += TAPS) {
                var columns: array<f32, STRIP_ROWS * COLUMNS>;
                for (var row = 0u; row < STRIP_ROWS; row++) {
                    let h = input_row(strip.first_p + row, r);
                    let is_inside = STRIP_ROWS == 1u || h < IN_HEIGHT;
                    let first_value = input_index(strip.n, min(h, IN_HEIGHT - 1u), 0u, c);
                    for (var j = 0u; j < COLUMNS; j++) {
                        let w = first_w + first_s * DILATION_WIDTH + j;
                        let value = input[first_value + min(w, IN_WIDTH - 1u) * IN_CHANNELS];
                        columns[row * COLUMNS + j] = select(0.0, value, is_inside && w < IN_WIDTH);
                    }
                }
                let first_weight = (line / IN_CHANNELS * KERNEL_WIDTH + first_s) * IN_CHANNELS + c;
                for (var t = 0u; t < TAPS; t++) {
                    if (KERNEL_WIDTH % TAPS == 0u || first_s + t < KERNEL_WIDTH) {
                        for (var j = 0u; j < QUADS; j++) {
                            let weights = staged[(first_weight + t * IN_CHANNELS) * PITCH + lane + j * LANES];
                            for (var row = 0u; row < STRIP_ROWS; row++) {
                                for (var i = 0u; i < STRIP; i++) {
                                    let value = columns[row * COLUMNS + i * STRIDE_WIDTH + t * DILATION_WIDTH];
                                    let sum = (row * STRIP + i) * QUADS + j;
                                    sums[sum] = fma(weights, vec4(value), sums[sum]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    if (strip.n < BATCH_SIZE) {
        store_strip(&sums, strip, first_quad + lane);
    }
}

// Whether a row of the input lies under filter row r of a strip that starts in row first_p.
fn meets_image(first_p: u32, r: u32) -> bool {
    var meets = false;
    for (var row = 0u; row < STRIP_ROWS; row++) {
        meets |= input_row(first_p + row, r) < IN_HEIGHT;
    }
    return meets;
}

// Copies `count` weights of each filter, from row first_r on, to workgroup memory. Filters past the last one repeat it.
fn stage(first_quad: u32, first_r: u32, count: u32, invocation: u32) {
    workgroupBarrier();
    for (var i = invocation; i < count * BLOCK; i += INVOCATIONS) {
        let quad = i / count;
        let weight = i % count;
        var values: vec4<f32>;
        for (var d = 0u; d < 4u; d++) {
            let k = min((first_quad + quad) * 4u + d, OUT_CHANNELS - 1u);
            values[d] = filters[k * FILTER + first_r * ROW_WEIGHTS + weight];
        }
        staged[weight * PITCH + quad] = values;
    }
    workgroupBarrier();
}
