// conv2d.forward and conv2d.grad_input, Winograd: the transform of the filters; appended to conv/winograd/patches.wgsl.
// transformed_filters[i,j,k,c] = for a filter: filters_line of each column, then of each row of the result; rotated by 180
// degrees for the gradient.
// An invocation owns WIDTH channels of one filter; a workgroup owns 64 consecutive ones, channels first.
// Launched by src/ops/conv/gpu/winograd.rs.

@group(0) @binding(2) var<storage, read> filters: array<Packet>;
// [PATCH_HEIGHT*PATCH_WIDTH,K,C]
@group(0) @binding(3) var<storage, read_write> transformed_filters: array<Packet>;

fn transform_other_factor(index: u32) {
    if (index >= OUT_CHANNELS * IN_CHANNELS / WIDTH) {
        return;
    }
    let k = index / (IN_CHANNELS / WIDTH);
    let c = index % (IN_CHANNELS / WIDTH) * WIDTH;
    var columns: array<array<Packet, LINE>, 3>;
    for (var s = 0u; s < 3u; s++) {
        var column: array<Packet, 3>;
        for (var r = 0u; r < 3u; r++) {
            let turned_r = select(r, 2u - r, GRADIENT == 1u);
            let turned_s = select(s, 2u - s, GRADIENT == 1u);
            column[r] = filters[filters_index(k, turned_r, turned_s, c) / WIDTH];
        }
        columns[s] = filters_line(TILE_HEIGHT, column);
    }
    for (var i = 0u; i < PATCH_HEIGHT; i++) {
        let row = filters_line(TILE_WIDTH, array(columns[0][i], columns[1][i], columns[2][i]));
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            transformed_filters[(i * PATCH_WIDTH + j) * (OUT_CHANNELS * IN_CHANNELS / WIDTH) + index] = row[j];
        }
    }
}
