// conv2d.grad_filters, Winograd: the transform of grad_output's tiles; appended to conv/winograd/patches.wgsl.
// grad_tiles[i,j,tile,k] = for a tile: grad_output_line of each column, then of each row of the result.
// An invocation owns a tile and WIDTH channels; a workgroup owns 64 consecutive ones, channels first.
// Launched by src/ops/conv/gpu/winograd.rs.

@group(0) @binding(2) var<storage, read> grad_output: array<APacket>;
// [PATCH_HEIGHT*PATCH_WIDTH,TILES,K]
@group(0) @binding(3) var<storage, read_write> grad_tiles: array<Packet>;

fn transform_other_factor(index: u32) {
    let packets = OUT_CHANNELS / WIDTH;
    if (index >= TILES * packets) {
        return;
    }
    let tile = tile_of(index / packets);
    var columns: array<array<Packet, LINE>, TILE_WIDTH>;
    for (var j = 0u; j < TILE_WIDTH; j++) {
        var column: array<Packet, 4>;
        for (var i = 0u; i < TILE_HEIGHT; i++) {
            // An unconditional load, from an index that is always valid, need not wait for a branch.
            let p = min(tile.row + i, OUT_HEIGHT - 1u);
            let q = min(tile.column + j, OUT_WIDTH - 1u);
            let inside = p == tile.row + i && q == tile.column + j;
            let value = grad_output_packet(output_index(tile.image, p, q, 0u) / WIDTH + index % packets);
            column[i] = select(Packet(), value, inside);
        }
        columns[j] = grad_output_line(TILE_HEIGHT, column);
    }
    for (var i = 0u; i < PATCH_HEIGHT; i++) {
        var row: array<Packet, 4>;
        for (var j = 0u; j < TILE_WIDTH; j++) {
            row[j] = columns[j][i];
        }
        let transformed_row = grad_output_line(TILE_WIDTH, row);
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            grad_tiles[(i * PATCH_WIDTH + j) * TILES * packets + index] = transformed_row[j];
        }
    }
}
