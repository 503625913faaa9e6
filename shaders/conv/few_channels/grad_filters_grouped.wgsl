// conv2d.grad_filters, grouped: for groups of few channels, depthwise among them.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns a tap group of a packet of input channels in a packet of filters: the COLUMNS input columns under a
// strip of STRIP positions are read once for all its taps.
// Defined in src/ops/conv/grad_filters.rs; src/ops/conv/gpu/few_channels/grouped.rs appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> input: array<Packet>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
// [slices,K,R,S,C/groups]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

// The packets of prologue/plain_packet.wgsl.
alias APacket = Packet;
// Of a packet of channels.
alias Sum = Packet;

override PACKETS: u32 = OUT_CHANNELS / WIDTH;
// Packets of a group's input; a packet of depthwise channels has only its own.
override GROUP_PACKETS: u32 = max(GROUP_IN_CHANNELS / WIDTH, 1u);
override FILTER: u32 = KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_IN_CHANNELS;
// From a weight of a packet to the next: in depthwise convolutions that is another filter.
override CHANNEL_STEP: u32 = select(1u, FILTER, GROUP_IN_CHANNELS == 1u);

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = workgroup_number(workgroup, workgroups);
    let group = tap_group_of(number, (PACKETS + LANES - 1u) / LANES, invocation);
    if (group.slice * SLICE_STRIPS >= ALL_STRIPS) {
        return;
    }
    let packet = group.block * LANES + invocation % LANES;
    let k = min(packet, PACKETS - 1u) * WIDTH;
    let c = group.packet * WIDTH;
    let channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS + c;

    var sums: array<Sums, TAPS>;
    let end = min((group.slice + 1u) * SLICE_STRIPS, ALL_STRIPS);
    for (var strip_number = group.slice * SLICE_STRIPS + group.place; strip_number < end; strip_number += PLACES) {
        let strip = output_strip(strip_number);
        var grads: array<Packet, STRIP>;
        for (var i = 0u; i < STRIP; i++) {
            let q = min(strip.first_q + i, OUT_WIDTH - 1u);
            grads[i] = grad_output_packet(output_index(strip.n, strip.first_p, q, k) / WIDTH);
        }
        let first_w = input_column(strip.first_q, group.first_s);
        let h = input_row(strip.first_p, group.r);
        if (h < IN_HEIGHT) {
            let line = input_index(strip.n, h, 0u, channel) / WIDTH;
            var columns: array<Packet, COLUMNS>;
            for (var j = 0u; j < COLUMNS; j++) {
                let w = first_w + j;
                let value = input[line + min(w, IN_WIDTH - 1u) * (IN_CHANNELS / WIDTH)];
                columns[j] = select(Packet(), value, w < IN_WIDTH);
            }
            for (var i = 0u; i < STRIP; i++) {
                if (OUT_WIDTH % STRIP == 0u || strip.first_q + i < OUT_WIDTH) {
                    for (var t = 0u; t < TAPS; t++) {
                        sums[t] = multiply_add(grads[i], columns[i * STRIDE_WIDTH + t * DILATION_WIDTH], sums[t]);
                    }
                }
            }
        }
    }

    // The places' sums are added, BATCH of them at a time.
    for (var first = 0u; first < TAPS * PARTS; first += BATCH) {
        for (var i = 0u; i < TAPS * PARTS; i++) {
            if (i >= first && i < first + BATCH) {
                partial[(i - first) * INVOCATIONS + invocation] = part_of(sums[i / PARTS], i % PARTS);
            }
        }
        add_places(group.place, invocation);
        // One invocation a tap group, a packet and a sum.
        for (var b = group.place; b < BATCH && first + b < TAPS * PARTS; b += PLACES) {
            let s = group.first_s + (first + b) / PARTS;
            if (packet < PACKETS && group.r < KERNEL_HEIGHT && s < KERNEL_WIDTH) {
                let values = partial[b * INVOCATIONS + invocation % PLACE];
                let weight = filters_index(group.slice * OUT_CHANNELS + k + (first + b) % PARTS, group.r, s, c);
                for (var d = 0u; d < WIDTH; d++) {
                    grad_filters[weight + d * CHANNEL_STEP] = component(values, d);
                }
            }
        }
        workgroupBarrier();
    }
}
