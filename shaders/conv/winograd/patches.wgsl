// Winograd's transforms of both factors of the products, in one launch: of the patches under the tiles, here, and of the
// other factor. Appended to a file that defines what the patches are read from; a file behind it transforms the other factor.
// patches[i,j,tile,channel] = for a patch: input_line of each column, then of each row of the result.
// An invocation owns a tile and WIDTH channels; a workgroup owns 64 consecutive ones, channels first. The workgroups behind
// the first PATCH_WORKGROUPS own the other factor.
// Launched by src/ops/conv/gpu/winograd.rs.

// [PATCH_HEIGHT*PATCH_WIDTH,TILES,CHANNELS]
@group(0) @binding(1) var<storage, read_write> patches: array<Packet>;

override PATCH_WORKGROUPS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = workgroup_number(workgroup, workgroups);
    if (number < PATCH_WORKGROUPS) {
        transform_patch(number * WORKGROUP_SIZE + invocation);
    } else {
        transform_other_factor((number - PATCH_WORKGROUPS) * WORKGROUP_SIZE + invocation);
    }
}

fn transform_patch(index: u32) {
    let packets = CHANNELS / WIDTH;
    if (index >= TILES * packets) {
        return;
    }
    let tile = tile_of(index / packets);
    let first_row = patch_row(tile.row);
    let first_column = patch_column(tile.column);
    var columns: array<array<Packet, LINE>, PATCH_WIDTH>;
    for (var j = 0u; j < PATCH_WIDTH; j++) {
        var column: array<Packet, LINE>;
        for (var i = 0u; i < PATCH_HEIGHT; i++) {
            // Rows and columns of the padding are past the end; those before the first have wrapped. An unconditional
            // load, from an index that is always valid, need not wait for a branch.
            let row = min(first_row + i, HEIGHT - 1u);
            let w = min(first_column + j, COLUMNS - 1u);
            let inside = row == first_row + i && w == first_column + j;
            let value = patch_value(((tile.image * HEIGHT + row) * COLUMNS + w) * packets + index % packets);
            column[i] = select(Packet(), value, inside);
        }
        columns[j] = input_line(TILE_HEIGHT, column);
    }
    for (var i = 0u; i < PATCH_HEIGHT; i++) {
        var row: array<Packet, LINE>;
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            row[j] = columns[j][i];
        }
        row = input_line(TILE_WIDTH, row);
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            patches[(i * PATCH_WIDTH + j) * TILES * packets + index] = row[j];
        }
    }
}
