// Results of a gradient that is that of a max-pool's output: each is stored where its window of 2 x 2 had its largest value, with
// zeros beside it, and is itself never in memory.
// grad_input[n,h,w,c] = unpooled(value[n,p,q,c]) if winners[n,p,q,c] = 2r + s, with h = 2p + r and w = 2q + s; zero elsewhere.
// The last window of a row or a column also owns what lies past it.
// Appended by src/ops/pool/store.rs to kernels that pass results to store_result, with the const lines GRAD_INPUT_BINDING and
// WINNERS_BINDING, and a file that defines unpooled.

@group(0) @binding(GRAD_INPUT_BINDING) var<storage, read_write> grad_input: array<ResultPacket>;
@group(0) @binding(WINNERS_BINDING) var<storage, read> winners: array<ResultPlaces>;

override POOLED_HEIGHT: u32;
override POOLED_WIDTH: u32;
override POOLED_CHANNELS: u32;
override UNPOOLED_HEIGHT: u32;
override UNPOOLED_WIDTH: u32;

fn store_result(index: u32, value: ResultPacket) {
    let packets = POOLED_CHANNELS / RESULT_WIDTH;
    let c = index % packets;
    let q = index / packets % POOLED_WIDTH;
    let p = index / (packets * POOLED_WIDTH) % POOLED_HEIGHT;
    let n = index / (packets * POOLED_WIDTH * POOLED_HEIGHT);
    let grad = unpooled(index, value);
    let winner = winners[index];
    let end_h = select(2u * p + 2u, UNPOOLED_HEIGHT, p + 1u == POOLED_HEIGHT);
    let end_w = select(2u * q + 2u, UNPOOLED_WIDTH, q + 1u == POOLED_WIDTH);
    for (var h = 2u * p; h < end_h; h++) {
        for (var w = 2u * q; w < end_w; w++) {
            let r = h - 2u * p;
            let s = w - 2u * q;
            // Past the window is no place of it.
            let place = select(4u, 2u * r + s, r < 2u && s < 2u);
            let pixel = ((n * UNPOOLED_HEIGHT + h) * UNPOOLED_WIDTH + w) * packets + c;
            grad_input[pixel] = select(ResultPacket(), grad, winner == ResultPlaces(place));
        }
    }
}
