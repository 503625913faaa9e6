// Of a max-pool of 2 x 2 windows side by side, the largest values and their places.
// output[n,p,q,c] = max over r,s of input[n,2p+r,2q+s,c]; winners[n,p,q,c] = 2r + s of the first of the largest; a NaN is the
// largest.
// An invocation owns one channel of a window; a workgroup owns 64 consecutive ones.
// Launched by src/ops/pool/places.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read_write> winners: array<u32>;

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
    let first = input_index(n, 2u * p, 2u * q, c);
    let below = first + IN_WIDTH * IN_CHANNELS;
    let values = vec4(input[first], input[first + IN_CHANNELS], input[below], input[below + IN_CHANNELS]);
    var winner = 0u;
    var best = values.x;
    for (var place = 1u; place < 4u; place++) {
        let wins = exceeds(values[place], best);
        best = select(best, values[place], wins);
        winner = select(winner, place, wins);
    }
    output[index] = best;
    winners[index] = winner;
}
