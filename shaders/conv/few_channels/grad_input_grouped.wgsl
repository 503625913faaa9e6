// conv2d.grad_input, grouped: for groups of few channels, including depthwise.
// grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c], over the filters k of c's group.
// An invocation owns a packet of input channels in a strip of STRIP columns. A workgroup stages the weights of its LANES
// packets, STAGED_ROWS filter rows at a time.
// Defined in src/ops/conv/grad_input.rs; src/ops/conv/gpu/few_channels/grouped.rs appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> filters: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<Packet>;

// The packets of prologue/plain_packet.wgsl.
alias APacket = Packet;
// One more than the number of lanes, so that weights that are neighbours in memory lie in different banks.
const PITCH: u32 = LANES + 1u;

override FILTER_TAPS: u32 = KERNEL_HEIGHT * KERNEL_WIDTH;
// Number of packets of a group's output; a packet of depthwise channels reads only itself.
override GROUP_PACKETS: u32 = max(GROUP_OUT_CHANNELS / WIDTH, 1u);
override PACKET_WEIGHTS: u32 = GROUP_OUT_CHANNELS / GROUP_PACKETS;
// Distance from one channel's weight to the next: in depthwise convolutions they belong to different filters.
override CHANNEL_STEP: u32 = select(1u, FILTER_TAPS * GROUP_OUT_CHANNELS, GROUP_IN_CHANNELS == 1u);

// [STAGED_ROWS,S,K/groups,LANES]
var<workgroup> staged: array<Packet, STAGED>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place_of(workgroup_number(workgroup, workgroups), invocation);
    let n = place.row / IN_HEIGHT;
    let h = place.row % IN_HEIGHT;
    let c = place.packet * WIDTH;
    let first_k = c / GROUP_IN_CHANNELS * GROUP_OUT_CHANNELS;
    let reach = h + PADDING_TOP;
    let has_taps = place.has_strip && row_has_taps(reach);
    var sums: array<Packet, STRIP>;
    // STAGED_ROWS is a multiple of ROW_STEP, or the number of all rows.
    for (var first_r = 0u; first_r < KERNEL_HEIGHT; first_r += STAGED_ROWS) {
        let end_r = min(first_r + STAGED_ROWS, KERNEL_HEIGHT);
        stage(place.first_packet, first_r, (end_r - first_r) * KERNEL_WIDTH, invocation);
        for (var r = first_r + first_tap_row(reach); r < end_r; r += ROW_STEP) {
            let p = met_row(reach, r);
            if (!has_taps || p >= OUT_HEIGHT) {
                continue;
            }
            let line = output_index(n, p, 0u, first_k) / WIDTH;
            for (var k = 0u; k < GROUP_PACKETS; k++) {
                for (var first_s = 0u; first_s < KERNEL_WIDTH; first_s += TAPS) {
                    let first_q = first_column(place.strip, first_s);
                    var columns: array<Packet, COLUMNS>;
                    for (var j = 0u; j < COLUMNS; j++) {
                        let q = first_q + j;
                        let value = grad_output_packet(line + min(q, OUT_WIDTH - 1u) * (OUT_CHANNELS / WIDTH) + k);
                        columns[j] = select(Packet(), value, q < OUT_WIDTH);
                    }
                    let first_tap = (r - first_r) * KERNEL_WIDTH + first_s;
                    for (var some_t = 0u; some_t < TAPS; some_t += TAP_STEP) {
                        for (var phase = 0u; phase < STRIDE_WIDTH; phase++) {
                            let t = some_t + tap_of_phase(phase);
                            if (phase_has_taps(phase) && t < TAPS && first_s + t < KERNEL_WIDTH) {
                                let weight = (first_tap + t) * GROUP_OUT_CHANNELS + k * PACKET_WEIGHTS;
                                let weights = weights_at(weight * PITCH + place.lane);
                                for (var u = 0u; u < STRIP / STRIDE_WIDTH; u++) {
                                    let i = u * STRIDE_WIDTH + phase;
                                    let j = met_column(i, t);
                                    sums[i] = multiply_add(weights, columns[j], sums[i]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    if (place.has_strip) {
        for (var i = 0u; i < STRIP; i++) {
            let w = place.strip * STRIP + i;
            if (w < IN_WIDTH) {
                grad_input[input_index(n, h, w, c) / WIDTH] = sums[i];
            }
        }
    }
}

// Copies the weights of `count` taps, from row first_r on, to workgroup memory.
fn stage(first_packet: u32, first_r: u32, count: u32, invocation: u32) {
    workgroupBarrier();
    for (var i = invocation; i < count * GROUP_OUT_CHANNELS * LANES; i += INVOCATIONS) {
        let tap = i % count;
        let k = i / count % GROUP_OUT_CHANNELS;
        let lane = i / (count * GROUP_OUT_CHANNELS);
        let c = min(first_packet + lane, PACKETS - 1u) * WIDTH;
        let source_k = c / GROUP_IN_CHANNELS * GROUP_OUT_CHANNELS + k;
        let first = (source_k * FILTER_TAPS + first_r * KERNEL_WIDTH + tap) * GROUP_IN_CHANNELS + c % GROUP_IN_CHANNELS;
        var values: array<f32, WIDTH>;
        for (var d = 0u; d < WIDTH; d++) {
            values[d] = filters[first + d * CHANNEL_STEP];
        }
        staged[(tap * GROUP_OUT_CHANNELS + k) * PITCH + lane] = packet(values);
    }
    workgroupBarrier();
}
