// conv2d.forward, grouped: for groups of few channels, including depthwise.
// output[n,p,q,k] = sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c], over the channels c of k's group.
// An invocation owns a packet of output channels in a strip of STRIP positions: the COLUMNS input columns under TAPS
// taps are read once for all positions. A workgroup stages the weights of its LANES packets, STAGED_ROWS filter rows at
// a time.
// Defined in src/ops/conv/forward.rs; src/ops/conv/gpu/few_channels/grouped.rs appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> input: array<Packet>;
@group(0) @binding(1) var<storage, read> filters: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<Packet>;

// One more than the number of lanes, so that weights that are neighbours in memory lie in different banks.
const PITCH: u32 = LANES + 1u;

override FILTER: u32 = KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_IN_CHANNELS;
override ROW_WEIGHTS: u32 = KERNEL_WIDTH * GROUP_IN_CHANNELS;
// Number of packets of a group's input; a packet of depthwise channels reads only itself.
override GROUP_PACKETS: u32 = max(GROUP_IN_CHANNELS / WIDTH, 1u);
override PACKET_WEIGHTS: u32 = GROUP_IN_CHANNELS / GROUP_PACKETS;

// [STAGED_ROWS,S,C/groups,LANES]
var<workgroup> staged: array<Packet, STAGED>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let place = place_of(workgroup_number(workgroup, workgroups), invocation);
    let n = place.row / OUT_HEIGHT;
    let p = place.row % OUT_HEIGHT;
    let k = place.packet * WIDTH;
    let first_channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS;
    let first_w = input_column(place.strip * STRIP, 0u);
    var sums: array<Packet, STRIP>;
    for (var first_r = 0u; first_r < KERNEL_HEIGHT; first_r += STAGED_ROWS) {
        let end_r = min(first_r + STAGED_ROWS, KERNEL_HEIGHT);
        stage(place.first_packet, first_r, (end_r - first_r) * ROW_WEIGHTS, invocation);
        for (var r = first_r; r < end_r; r++) {
            let h = input_row(p, r);
            if (!place.has_strip || h >= IN_HEIGHT) {
                continue;
            }
            let line = input_index(n, h, 0u, first_channel) / WIDTH;
            for (var c = 0u; c < GROUP_PACKETS; c++) {
                for (var first_s = 0u; first_s < KERNEL_WIDTH; first_s += TAPS) {
                    var columns: array<Packet, COLUMNS>;
                    for (var j = 0u; j < COLUMNS; j++) {
                        let w = first_w + first_s * DILATION_WIDTH + j;
                        let value = input[line + min(w, IN_WIDTH - 1u) * (IN_CHANNELS / WIDTH) + c];
                        columns[j] = select(Packet(), value, w < IN_WIDTH);
                    }
                    let first_weight = (r - first_r) * ROW_WEIGHTS + first_s * GROUP_IN_CHANNELS + c * PACKET_WEIGHTS;
                    for (var t = 0u; t < TAPS; t++) {
                        if (KERNEL_WIDTH % TAPS == 0u || first_s + t < KERNEL_WIDTH) {
                            let weights = weights_at((first_weight + t * GROUP_IN_CHANNELS) * PITCH + place.lane);
                            for (var i = 0u; i < STRIP; i++) {
                                sums[i] = multiply_add(weights, columns[i * STRIDE_WIDTH + t * DILATION_WIDTH], sums[i]);
                            }
                        }
                    }
                }
            }
        }
    }
    if (place.has_strip) {
        for (var i = 0u; i < STRIP; i++) {
            let q = place.strip * STRIP + i;
            if (q < OUT_WIDTH) {
                output[output_index(n, p, q, k) / WIDTH] = finish_packet(k, sums[i]);
            }
        }
    }
}

// Copies `count` weights of each filter, from row first_r on, to workgroup memory.
fn stage(first_packet: u32, first_r: u32, count: u32, invocation: u32) {
    workgroupBarrier();
    for (var i = invocation; i < count * LANES; i += INVOCATIONS) {
        let lane = i / count;
        let weight = i % count;
        let k = min(first_packet + lane, PACKETS - 1u) * WIDTH;
        var values: array<f32, WIDTH>;
        for (var d = 0u; d < WIDTH; d++) {
            values[d] = filters[(k + d) * FILTER + first_r * ROW_WEIGHTS + weight];
        }
        staged[weight * PITCH + lane] = packet(values);
    }
    workgroupBarrier();
}
