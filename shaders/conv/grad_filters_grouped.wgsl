// conv2d.grad_filters, grouped: for groups of few channels, including depthwise.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns TAPS neighbouring taps of a packet of input channels (a tap group) in a packet of filters, in every
// PLACES-th strip of a slice; a strip is STRIP neighbouring positions, whose COLUMNS input columns are read once for all
// taps. A workgroup owns LANES packets of filters and TAP_LANES tap groups in one slice.
// Defined in src/ops/conv/grad_filters.rs and launched by src/ops/conv/gpu/grouped.rs, which appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> input: array<Packet>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
// [slices,K,R,S,C/groups]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

// The packets of prologue/plain_packet.wgsl.
alias APacket = Packet;
const PLACE: u32 = LANES * TAP_LANES;
const INVOCATIONS: u32 = PLACE * PLACES;

// Number of strips in a slice.
override SLICE_STRIPS: u32;

override PACKETS: u32 = OUT_CHANNELS / WIDTH;
override STRIPS: u32 = (OUT_WIDTH + STRIP - 1u) / STRIP;
// Number of packets of a group's input; a packet of depthwise channels reads only itself.
override GROUP_PACKETS: u32 = max(GROUP_IN_CHANNELS / WIDTH, 1u);
override TAP_BLOCKS: u32 = (KERNEL_WIDTH + TAPS - 1u) / TAPS;
override TAP_GROUPS: u32 = KERNEL_HEIGHT * TAP_BLOCKS * GROUP_PACKETS;
override FILTER: u32 = KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_IN_CHANNELS;
// Distance from one weight of a packet to the next: in depthwise convolutions they belong to different filters.
override CHANNEL_STEP: u32 = select(1u, FILTER, GROUP_IN_CHANNELS == 1u);

var<workgroup> partial: array<Packet, BATCH * INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // Consecutive workgroups share a slice, so that they read the same pixels.
    let packet_blocks = (PACKETS + LANES - 1u) / LANES;
    let blocks = packet_blocks * ((TAP_GROUPS + TAP_LANES - 1u) / TAP_LANES);
    let number = workgroup.y * workgroups.x + workgroup.x;
    let slice = number / blocks;
    if (slice * SLICE_STRIPS >= BATCH_SIZE * OUT_HEIGHT * STRIPS) {
        return;
    }
    let place = invocation / PLACE;
    let packet = number % packet_blocks * LANES + invocation % LANES;
    let k = min(packet, PACKETS - 1u) * WIDTH;
    let group = number % blocks / packet_blocks * TAP_LANES + invocation / LANES % TAP_LANES;
    let c = group % GROUP_PACKETS * WIDTH;
    let first_s = group / GROUP_PACKETS % TAP_BLOCKS * TAPS;
    // For tap groups past the last one, r is past the last row.
    let r = group / (GROUP_PACKETS * TAP_BLOCKS);
    let channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS + c;

    var sums: array<Sums, TAPS>;
    let end = min((slice + 1u) * SLICE_STRIPS, BATCH_SIZE * OUT_HEIGHT * STRIPS);
    for (var strip = slice * SLICE_STRIPS + place; strip < end; strip += PLACES) {
        let first_q = strip % STRIPS * STRIP;
        let p = strip / STRIPS % OUT_HEIGHT;
        let n = strip / (STRIPS * OUT_HEIGHT);
        var grads: array<Packet, STRIP>;
        for (var i = 0u; i < STRIP; i++) {
            let q = min(first_q + i, OUT_WIDTH - 1u);
            grads[i] = grad_output_packet(output_index(n, p, q, k) / WIDTH);
        }
        let first_w = input_column(first_q, first_s);
        let h = input_row(p, r);
        if (h < IN_HEIGHT) {
            let line = input_index(n, h, 0u, channel) / WIDTH;
            var columns: array<Packet, COLUMNS>;
            for (var j = 0u; j < COLUMNS; j++) {
                let w = first_w + j;
                let value = input[line + min(w, IN_WIDTH - 1u) * (IN_CHANNELS / WIDTH)];
                columns[j] = select(Packet(), value, w < IN_WIDTH);
            }
            for (var i = 0u; i < STRIP; i++) {
                if (OUT_WIDTH % STRIP == 0u || first_q + i < OUT_WIDTH) {
                    for (var t = 0u; t < TAPS; t++) {
                        sums[t] = multiply_add(grads[i], columns[i * STRIDE_WIDTH + t * DILATION_WIDTH], sums[t]);
                    }
                }
            }
        }
    }

    // Adds the sums of the places as a tree, BATCH sums at a time.
    for (var first = 0u; first < TAPS * PARTS; first += BATCH) {
        for (var i = 0u; i < TAPS * PARTS; i++) {
            if (i >= first && i < first + BATCH) {
                partial[(i - first) * INVOCATIONS + invocation] = part_of(sums[i / PARTS], i % PARTS);
            }
        }
        for (var span = HALF_PLACES; span > 0u; span /= 2u) {
            workgroupBarrier();
            if (place < span && place + span < PLACES) {
                for (var b = 0u; b < BATCH; b++) {
                    let sum = b * INVOCATIONS + invocation;
                    partial[sum] += partial[sum + span * PLACE];
                }
            }
        }
        workgroupBarrier();
        // One invocation stores each sum of each tap group and packet.
        for (var b = place; b < BATCH && first + b < TAPS * PARTS; b += PLACES) {
            let s = first_s + (first + b) / PARTS;
            if (packet < PACKETS && r < KERNEL_HEIGHT && s < KERNEL_WIDTH) {
                let values = partial[b * INVOCATIONS + invocation % PLACE];
                let weight = filters_index(slice * OUT_CHANNELS + k + (first + b) % PARTS, r, s, c);
                for (var d = 0u; d < WIDTH; d++) {
                    grad_filters[weight + d * CHANNEL_STEP] = component(values, d);
                }
            }
        }
        workgroupBarrier();
    }
}
