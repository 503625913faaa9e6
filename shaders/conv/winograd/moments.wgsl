// The moments of each channel of a result over the tiles of a workgroup: those of all workgroups are the statistics of a batch.
// mean[k] = sum over values of value[k] / values; squares[k] = sum over values of (value[k] - mean[k])^2.
// An invocation sums the values of its tile relative to the first of them: the square of that one's distance from the mean is
// at most as many variances as there are values, so that few digits are lost. As a tree over the tiles, in a fixed order.
// Appended to conv/winograd/results.wgsl by src/ops/conv/gpu/winograd.rs, with the const line MOMENTS_BINDING, if a workgroup
// owns all channels of whole tiles, none of which extends past its image, and no workgroup owns fewer.

// [workgroups,K]: the mean, and the sum of squared differences from it
@group(0) @binding(MOMENTS_BINDING) var<storage, read_write> moments_of_tiles: array<vec2<f32>>;

const TAKES_MOMENTS: bool = true;

// Of the differences of a tile's values from the first of them.
struct OwnMoments {
    origin: Packet,
    sum: Packet,
    squares: Packet,
}

override PACKETS: u32 = CHANNELS / WIDTH;
// Tiles of a workgroup: a power of two.
override LANES: u32 = WORKGROUP_SIZE / PACKETS;

var<workgroup> means: array<Packet, WORKGROUP_SIZE>;
var<workgroup> squares: array<Packet, WORKGROUP_SIZE>;

fn with_value(own: OwnMoments, value: Packet, is_first: bool) -> OwnMoments {
    let origin = select(own.origin, value, is_first);
    let difference = value - origin;
    return OwnMoments(origin, own.sum + difference, own.squares + difference * difference);
}

fn store_moments(own: OwnMoments, index: u32, invocation: u32) {
    let values = f32(TILE_HEIGHT * TILE_WIDTH);
    means[invocation] = own.origin + own.sum / values;
    squares[invocation] = max(own.squares - own.sum * own.sum / values, Packet());
    let lane = invocation / PACKETS;
    // Both of two sets have as many values.
    var half = 0.5 * values;
    for (var span = LANES / 2u; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (lane < span) {
            let other = invocation + span * PACKETS;
            let difference = means[other] - means[invocation];
            means[invocation] += 0.5 * difference;
            squares[invocation] += squares[other] + half * difference * difference;
        }
        half *= 2.0;
    }
    if (lane == 0u) {
        let first = index / WORKGROUP_SIZE * CHANNELS + invocation * WIDTH;
        for (var i = 0u; i < WIDTH; i++) {
            moments_of_tiles[first + i] = vec2(means[invocation][i], squares[invocation][i]);
        }
    }
}
