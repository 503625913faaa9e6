// conv2d.grad_input, stem: for images of few channels.
// grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c].
// LANES invocations own all channels of a strip of STRIP columns: each takes every LANES-th quad of filters, and their
// sums are added. A workgroup owns PLACES strips, and stages the weights of STAGED_QUADS times four filters, STAGED_ROWS
// filter rows at a time.
// Defined in src/ops/conv/grad_input.rs; src/ops/conv/gpu/few_channels/stem.rs appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> filters: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

const INVOCATIONS: u32 = LANES * PLACES;
// Number of sums of an invocation, [STRIP,CHANNELS], and of quads of them.
const SUMS: u32 = STRIP * CHANNELS;
const SUM_QUADS: u32 = (SUMS + 3u) / 4u;
// One more than needed, so that weights that are neighbours in memory, and sums of neighbours, lie in different banks.
const PITCH: u32 = STAGED_QUADS + 1u;
const SUM_PITCH: u32 = LANES + 1u;

override STRIPS: u32 = (IN_WIDTH + STRIP - 1u) / STRIP;

// Weights [STAGED_ROWS,S,C,STAGED_QUADS], each of four filters, then sums [PLACES,BATCH,LANES], each of four columns and
// channels.
var<workgroup> shared_quads: array<vec4<f32>, SHARED_QUADS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let lane = invocation % LANES;
    let place = invocation / LANES;
    let strip = workgroup_number(workgroup, workgroups) * PLACES + place;
    let strip_in_row = strip % STRIPS;
    let h = strip / STRIPS % IN_HEIGHT;
    let n = strip / (STRIPS * IN_HEIGHT);
    let reach = h + PADDING_TOP;
    let has_taps = n < BATCH_SIZE && row_has_taps(reach);
    var sums: array<f32, 4u * SUM_QUADS>;
    for (var first_k = 0u; first_k < OUT_CHANNELS; first_k += 4u * STAGED_QUADS) {
        // STAGED_ROWS is a multiple of ROW_STEP, or the number of all rows.
        for (var first_r = 0u; first_r < KERNEL_HEIGHT; first_r += STAGED_ROWS) {
            let end_r = min(first_r + STAGED_ROWS, KERNEL_HEIGHT);
            stage(first_k, first_r, (end_r - first_r) * KERNEL_WIDTH * CHANNELS, invocation);
            for (var r = first_r + first_tap_row(reach); r < end_r; r += ROW_STEP) {
                let p = met_row(reach, r);
                if (!has_taps || p >= OUT_HEIGHT) {
                    continue;
                }
                for (var quad = lane; quad < STAGED_QUADS && first_k + quad * 4u < OUT_CHANNELS; quad += LANES) {
                    for (var first_s = 0u; first_s < KERNEL_WIDTH; first_s += TAPS) {
                        let first_q = first_column(strip_in_row, first_s);
                        var columns: array<vec4<f32>, COLUMNS>;
                        for (var j = 0u; j < COLUMNS; j++) {
                            let q = first_q + j;
                            let grads = grads_of_four(n, p, min(q, OUT_WIDTH - 1u), first_k + quad * 4u);
                            columns[j] = select(vec4<f32>(), grads, q < OUT_WIDTH);
                        }
                        let first_tap = (r - first_r) * KERNEL_WIDTH + first_s;
                        for (var some_t = 0u; some_t < TAPS; some_t += TAP_STEP) {
                            for (var phase = 0u; phase < STRIDE_WIDTH; phase++) {
                                let t = some_t + tap_of_phase(phase);
                                if (phase_has_taps(phase) && t < TAPS && first_s + t < KERNEL_WIDTH) {
                                    for (var c = 0u; c < CHANNELS; c++) {
                                        let weights = shared_quads[((first_tap + t) * CHANNELS + c) * PITCH + quad];
                                        for (var u = 0u; u < STRIP / STRIDE_WIDTH; u++) {
                                            let i = u * STRIDE_WIDTH + phase;
                                            let j = met_column(i, t);
                                            let sum = i * CHANNELS + c;
                                            sums[sum] = add_products(columns[j], weights, sums[sum]);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    // Each lane adds four of the sums over all lanes, BATCH quads at a time.
    for (var first = 0u; first < SUM_QUADS; first += BATCH) {
        workgroupBarrier();
        for (var i = 0u; i < SUM_QUADS; i++) {
            if (i >= first && i < first + BATCH) {
                let four = vec4(sums[i * 4u], sums[i * 4u + 1u], sums[i * 4u + 2u], sums[i * 4u + 3u]);
                shared_quads[(place * BATCH + i - first) * SUM_PITCH + lane] = four;
            }
        }
        workgroupBarrier();
        for (var b = lane; b < BATCH && first + b < SUM_QUADS; b += LANES) {
            var four: vec4<f32>;
            for (var other = 0u; other < LANES; other++) {
                four += shared_quads[(place * BATCH + b) * SUM_PITCH + other];
            }
            for (var d = 0u; d < 4u; d++) {
                let sum = (first + b) * 4u + d;
                let w = strip_in_row * STRIP + sum / CHANNELS;
                if (n < BATCH_SIZE && sum < SUMS && w < IN_WIDTH) {
                    grad_input[input_index(n, h, w, sum % CHANNELS)] = four[d];
                }
            }
        }
    }
}

// Returns sum + the dot product of grads and weights.
fn add_products(grads: vec4<f32>, weights: vec4<f32>, sum: f32) -> f32 {
    return fma(grads.w, weights.w, fma(grads.z, weights.z, fma(grads.y, weights.y, fma(grads.x, weights.x, sum))));
}

// Copies `count` weights of STAGED_QUADS times four filters, from filter first_k and row first_r on, to workgroup
// memory; zeros for filters past the last one.
fn stage(first_k: u32, first_r: u32, count: u32, invocation: u32) {
    workgroupBarrier();
    for (var i = invocation; i < count * STAGED_QUADS; i += INVOCATIONS) {
        let quad = i / count;
        let weight = i % count;
        var values: vec4<f32>;
        for (var d = 0u; d < 4u; d++) {
            let k = first_k + quad * 4u + d;
            let value = filters[filters_index(min(k, OUT_CHANNELS - 1u), first_r, 0u, 0u) + weight];
            values[d] = select(0.0, value, k < OUT_CHANNELS);
        }
        shared_quads[weight * PITCH + quad] = values;
    }
    workgroupBarrier();
}
