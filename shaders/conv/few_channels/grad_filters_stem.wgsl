// conv2d.grad_filters, stem: for images of few channels.
// grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c].
// An invocation owns a tap group of an input channel in QUADS times four filters: the COLUMNS input values under a strip of
// STRIP positions are read once for all its taps. With a BIAS, the first tap group also sums the output's gradient itself,
// as if there were one more tap, under which every value is 1.
// Defined in src/ops/conv/grad_filters.rs; src/ops/conv/gpu/few_channels/stem.rs appends the sizes as const lines. Whether
// there is a BIAS is said by conv/few_channels/bias_sums.wgsl or conv/few_channels/no_bias_sums.wgsl.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<Packet>;
// [slices,K,R,S,C]
@group(0) @binding(2) var<storage, read_write> grad_filters: array<f32>;

// Of four filters.
alias Sum = vec4<f32>;
const SUMS: u32 = (TAPS + BIAS) * QUADS;
const BLOCK: u32 = LANES * QUADS * 4u;

override GROUP_PACKETS: u32 = IN_CHANNELS;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = workgroup_number(workgroup, workgroups);
    let group = tap_group_of(number, (OUT_CHANNELS + BLOCK - 1u) / BLOCK, invocation);
    if (group.slice * SLICE_STRIPS >= ALL_STRIPS) {
        return;
    }
    let first_k = group.block * BLOCK + invocation % LANES * 4u;
    let c = group.packet;

    let sums_bias = BIAS == 1u && group.r == 0u && group.first_s == 0u && c == 0u;
    var sums: array<Sum, SUMS>;
    let end = min((group.slice + 1u) * SLICE_STRIPS, ALL_STRIPS);
    for (var strip_number = group.slice * SLICE_STRIPS + group.place; strip_number < end; strip_number += PLACES) {
        let strip = output_strip(strip_number);
        var grads: array<vec4<f32>, STRIP * QUADS>;
        for (var i = 0u; i < STRIP; i++) {
            for (var j = 0u; j < QUADS; j++) {
                let q = min(strip.first_q + i, OUT_WIDTH - 1u);
                grads[i * QUADS + j] = grads_of_four(strip.n, strip.first_p, q, first_k + j * LANES * 4u);
            }
        }
        if (sums_bias) {
            for (var i = 0u; i < STRIP; i++) {
                for (var j = 0u; j < QUADS; j++) {
                    let is_inside = OUT_WIDTH % STRIP == 0u || strip.first_q + i < OUT_WIDTH;
                    sums[TAPS * QUADS * BIAS + j] += select(vec4<f32>(), grads[i * QUADS + j], is_inside);
                }
            }
        }
        let first_w = input_column(strip.first_q, group.first_s);
        let h = input_row(strip.first_p, group.r);
        if (h < IN_HEIGHT) {
            let line = input_index(strip.n, h, 0u, c);
            var columns: array<f32, COLUMNS>;
            for (var j = 0u; j < COLUMNS; j++) {
                let w = first_w + j;
                columns[j] = select(0.0, input[line + min(w, IN_WIDTH - 1u) * IN_CHANNELS], w < IN_WIDTH);
            }
            for (var i = 0u; i < STRIP; i++) {
                if (OUT_WIDTH % STRIP == 0u || strip.first_q + i < OUT_WIDTH) {
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

    // The places' sums are added, BATCH of them at a time.
    for (var first = 0u; first < SUMS; first += BATCH) {
        for (var i = 0u; i < SUMS; i++) {
            if (i >= first && i < first + BATCH) {
                partial[(i - first) * INVOCATIONS + invocation] = sums[i];
            }
        }
        add_places(group.place, invocation);
        // One invocation a tap group, its filters and a sum.
        for (var b = group.place; b < BATCH && first + b < SUMS; b += PLACES) {
            let values = partial[b * INVOCATIONS + invocation % PLACE];
            let s = group.first_s + (first + b) / QUADS;
            for (var d = 0u; d < 4u; d++) {
                let k = first_k + (first + b) % QUADS * LANES * 4u + d;
                if (first + b >= TAPS * QUADS) {
                    if (sums_bias && k < OUT_CHANNELS) {
                        store_bias(group.slice * OUT_CHANNELS + k, values[d]);
                    }
                } else if (k < OUT_CHANNELS && group.r < KERNEL_HEIGHT && s < KERNEL_WIDTH) {
                    grad_filters[filters_index(group.slice * OUT_CHANNELS + k, group.r, s, c)] = values[d];
                }
            }
        }
        workgroupBarrier();
    }
}
