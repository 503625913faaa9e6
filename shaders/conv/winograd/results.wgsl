// Winograd's inverse transform, from products to the tiles of a result; appended to a file that defines the result, and with
// one that takes moments of it or none.
// result[tile,channel] = for a tile's products: output_line of each column, then of each row of the result.
// An invocation owns a tile and WIDTH channels; a workgroup owns 64 consecutive ones, channels first.
// Launched by src/ops/conv/gpu/winograd.rs.

// [PATCH_HEIGHT*PATCH_WIDTH,TILES,CHANNELS]
@group(0) @binding(1) var<storage, read> products: array<Packet>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let packets = CHANNELS / WIDTH;
    var own: OwnMoments;
    if (index < TILES * packets) {
        own = transformed(index, packets);
    }
    if (TAKES_MOMENTS) {
        store_moments(own, index, invocation);
    }
}

fn transformed(index: u32, packets: u32) -> OwnMoments {
    var own: OwnMoments;
    var columns: array<array<Packet, 4>, PATCH_WIDTH>;
    for (var j = 0u; j < PATCH_WIDTH; j++) {
        var column: array<Packet, LINE>;
        for (var i = 0u; i < PATCH_HEIGHT; i++) {
            column[i] = products[(i * PATCH_WIDTH + j) * TILES * packets + index];
        }
        columns[j] = output_line(TILE_HEIGHT, column);
    }
    let tile = tile_of(index / packets);
    for (var i = 0u; i < TILE_HEIGHT; i++) {
        var row: array<Packet, LINE>;
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            row[j] = columns[j][i];
        }
        let results = output_line(TILE_WIDTH, row);
        for (var j = 0u; j < TILE_WIDTH; j++) {
            if (tile.row + i < HEIGHT && tile.column + j < COLUMNS) {
                let position = (tile.image * HEIGHT + tile.row + i) * COLUMNS + tile.column + j;
                let value = finished(index % packets * WIDTH, results[j]);
                store(position * packets + index % packets, value);
                own = with_value(own, value, i + j == 0u);
            }
        }
    }
    return own;
}
