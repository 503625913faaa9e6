// max_pool2d, positions of the winners: the index in input of every window's first largest value; a NaN is the largest
// value.
// winners[n,p,q,c] = index of the first of the largest input[n,h,w,c] over r,s, over positions inside the input.
// An invocation owns one channel of a window; a workgroup owns 64 consecutive ones.
// Launched by src/ops/pool/winners.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> winners: array<u32>;

const NOWHERE: u32 = 0xffffffffu;

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
    var winner = NOWHERE;
    if (!IS_FIRST_PART) {
        winner = winners[index];
    }
    var best = 0.0;
    if (winner != NOWHERE) {
        best = input[winner];
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
            let rival = input_index(n, h, w, c);
            let value = input[rival];
            if (winner == NOWHERE || exceeds(value, best)) {
                winner = rival;
                best = value;
            }
        }
    }
    winners[index] = winner;
}
