// conv2d.forward, direct: every output value from its definition.
// output[n,p,q,k] = sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c].
// An invocation owns one output value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> filters: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * OUT_HEIGHT * OUT_WIDTH * OUT_CHANNELS) {
        return;
    }
    let k = index % OUT_CHANNELS;
    let q = index / OUT_CHANNELS % OUT_WIDTH;
    let p = index / (OUT_CHANNELS * OUT_WIDTH) % OUT_HEIGHT;
    let n = index / (OUT_CHANNELS * OUT_WIDTH * OUT_HEIGHT);
    let first_channel = k / GROUP_OUT_CHANNELS * GROUP_IN_CHANNELS;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = output[index];
    }
    for (var r = FIRST_R; r < END_R; r++) {
        let h = input_row(p, r);
        if (h >= IN_HEIGHT) {
            continue;
        }
        for (var s = FIRST_S; s < END_S; s++) {
            let w = input_column(q, s);
            if (w >= IN_WIDTH) {
                continue;
            }
            let in_pixel = input_index(n, h, w, first_channel);
            let tap = filters_index(k, r, s, 0u);
            for (var c = FIRST_TERM; c < END_TERM; c++) {
                sum += input[in_pixel + c] * filters[tap + c];
            }
        }
    }
    if (IS_LAST_PART) {
        sum = finish(k, sum);
    }
    output[index] = sum;
}
