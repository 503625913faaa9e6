// conv2d.grad_filters, stem: for images of few channels.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns TAPS neighbouring taps of an input channel (a tap group) in QUADS times four filters, in every
// PLACES-th strip of a slice; a strip is STRIP neighbouring positions, whose COLUMNS input values are read once for all
// taps. A workgroup owns LANES times that many filters and TAP_LANES tap groups in one slice.
// Defined in src/ops/conv/grad_filters.rs and launched by src/ops/conv/gpu/stem.rs, which appends the sizes as const lines.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
// [slices,K,R,S,C]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

const PLACE: u32 = LANES * TAP_LANES;
const INVOCATIONS: u32 = PLACE * PLACES;
const SUMS: u32 = TAPS * QUADS;

// Number of strips in a slice.
override SLICE_STRIPS: u32;

override STRIPS: u32 = (OUT_WIDTH + STRIP - 1u) / STRIP;
override TAP_BLOCKS: u32 = (KERNEL_WIDTH + TAPS - 1u) / TAPS;
override TAP_GROUPS: u32 = KERNEL_HEIGHT * TAP_BLOCKS * IN_CHANNELS;

var<workgroup> partial: array<vec4<f32>, BATCH * INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // Consecutive workgroups share a slice, so that they read the same pixels.
    let filter_blocks = (OUT_CHANNELS + 4u * LANES * QUADS - 1u) / (4u * LANES * QUADS);
    let blocks = filter_blocks * ((TAP_GROUPS + TAP_LANES - 1u) / TAP_LANES);
    let number = workgroup.y * workgroups.x + workgroup.x;
    let slice = number / blocks;
    if (slice * SLICE_STRIPS >= BATCH_SIZE * OUT_HEIGHT * STRIPS) {
        return;
    }
    let place = invocation / PLACE;
    let first_k = (number % filter_blocks * LANES * QUADS + invocation % LANES) * 4u;
    let group = number % blocks / filter_blocks * TAP_LANES + invocation / LANES % TAP_LANES;
    let c = group % IN_CHANNELS;
    let first_s = group / IN_CHANNELS % TAP_BLOCKS * TAPS;
    // For tap groups past the last one, r is past the last row.
    let r = group / (IN_CHANNELS * TAP_BLOCKS);

    var sums: array<vec4<f32>, SUMS>;
    let end = min((slice + 1u) * SLICE_STRIPS, BATCH_SIZE * OUT_HEIGHT * STRIPS);
    for (var strip = slice * SLICE_STRIPS + place; strip < end; strip += PLACES) {
        let first_q = strip % STRIPS * STRIP;
        let p = strip / STRIPS % OUT_HEIGHT;
        let n = strip / (STRIPS * OUT_HEIGHT);
        var grads: array<vec4<f32>, STRIP * QUADS>;
        for (var i = 0u; i < STRIP; i++) {
            for (var j = 0u; j < QUADS; j++) {
                let q = min(first_q + i, OUT_WIDTH - 1u);
                grads[i * QUADS + j] = grads_of_four(n, p, q, first_k + j * LANES * 4u);
            }
        }
        let first_w = input_column(first_q, first_s);
        let h = input_row(p, r);
        if (h < IN_HEIGHT) {
            let line = input_index(n, h, 0u, c);
            var columns: array<f32, COLUMNS>;
            for (var j = 0u; j < COLUMNS; j++) {
                let w = first_w + j;
                columns[j] = select(0.0, input[line + min(w, IN_WIDTH - 1u) * IN_CHANNELS], w < IN_WIDTH);
            }
            for (var i = 0u; i < STRIP; i++) {
                if (OUT_WIDTH % STRIP == 0u || first_q + i < OUT_WIDTH) {
                    for (var t = 0u; t < TAPS; t++) {
                        let value = vec4(columns[i * STRIDE_WIDTH + t * DILATION_WIDTH]);
                        for (var j = 0u; j < QUADS; j++) {
                            sums[t * QUADS + j] = fma(grads[i * QUADS + j], value, sums[t * QUADS + j]);
                        }
                    }
                }
            }
        }
    }

    // Adds the sums of the places as a tree, BATCH sums at a time.
    for (var first = 0u; first < SUMS; first += BATCH) {
        for (var i = 0u; i < SUMS; i++) {
            if (i >= first && i < first + BATCH) {
                partial[(i - first) * INVOCATIONS + invocation] = sums[i];
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
        // One invocation stores each sum of each tap group and its filters.
        for (var b = place; b < BATCH && first + b < SUMS; b += PLACES) {
            let values = partial[b * INVOCATIONS + invocation % PLACE];
            let s = first_s + (first + b) / QUADS;
            for (var d = 0u; d < 4u; d++) {
                let k = first_k + (first + b) % QUADS * LANES * 4u + d;
                if (k < OUT_CHANNELS && r < KERNEL_HEIGHT && s < KERNEL_WIDTH) {
                    grad_filters[filters_index(slice * OUT_CHANNELS + k, r, s, c)] = values[d];
                }
            }
        }
        workgroupBarrier();
    }
}
