// average_pool2d.forward, direct: every output value from its definition.
// output[n,p,q,c] = sum over r,s of input[n,h,w,c] / taps, the number of taps as the appended file counts them; terms outside
// the input are zero.
// An invocation owns one output value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/pool/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

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
    let c = index % OUT_CHANNELS;
    let q = index / OUT_CHANNELS % OUT_WIDTH;
    let p = index / (OUT_CHANNELS * OUT_WIDTH) % OUT_HEIGHT;
    let n = index / (OUT_CHANNELS * OUT_WIDTH * OUT_HEIGHT);
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
            if (w < IN_WIDTH) {
                sum += input[input_index(n, h, w, c)];
            }
        }
    }
    if (IS_LAST_PART) {
        sum = mean(sum, p, q);
    }
    output[index] = sum;
}
