// batch_norm.train, after a product that leaves the moments of tiles of its rows: the moments of each part, of several tiles.
// An invocation owns one channel of a part; a workgroup owns 64 consecutive ones. Tiles are combined in order.
// Defined in src/ops/norm/train.rs.

// [tiles,K]: the mean, and the sum of squared differences from it
@group(0) @binding(0) var<storage, read> moments_of_tiles: array<vec2<f32>>;
// [parts,K]: the same
@group(0) @binding(1) var<storage, read_write> moments_of_parts: array<vec2<f32>>;

override ROWS: u32;
override CHANNELS: u32;
override TILE_ROWS: u32;
override TILES: u32 = (ROWS + TILE_ROWS - 1u) / TILE_ROWS;
// Number of tiles of a part; the last one may have fewer.
override PART_TILES: u32;
override PARTS: u32 = (TILES + PART_TILES - 1u) / PART_TILES;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= PARTS * CHANNELS) {
        return;
    }
    let k = index % CHANNELS;
    let first = index / CHANNELS * PART_TILES;
    // Relative to one of them, means are close to zero.
    let origin = moments_of_tiles[first * CHANNELS + k].x;
    var moments = Moments(0.0, 0.0, 0.0);
    for (var tile = first; tile < min(first + PART_TILES, TILES); tile++) {
        let rows = f32(min(TILE_ROWS, ROWS - tile * TILE_ROWS));
        let of_tile = moments_of_tiles[tile * CHANNELS + k];
        moments = together(moments, Moments(rows, of_tile.x - origin, of_tile.y));
    }
    moments_of_parts[index] = vec2(origin + moments.mean, moments.squares);
}
