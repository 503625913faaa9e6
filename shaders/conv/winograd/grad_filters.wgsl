// conv2d.grad_filters, Winograd, last of three steps: from products to the gradient.
// grad_filters[k,r,s,c] = for the products of k and c: grad_filters_line of each column, then of each row of the result.
// An invocation owns WIDTH channels of one filter; a workgroup owns 64 consecutive ones, channels first.
// Defined in src/ops/conv/grad_filters.rs.

@group(0) @binding(0) var<storage, read_write> grad_filters: array<Packet>;
// [PATCH_HEIGHT*PATCH_WIDTH,K,C]
@group(0) @binding(1) var<storage, read> products: array<Packet>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= OUT_CHANNELS * IN_CHANNELS / WIDTH) {
        return;
    }
    let k = index / (IN_CHANNELS / WIDTH);
    let c = index % (IN_CHANNELS / WIDTH) * WIDTH;
    var columns: array<array<Packet, 3>, PATCH_WIDTH>;
    for (var j = 0u; j < PATCH_WIDTH; j++) {
        var column: array<Packet, LINE>;
        for (var i = 0u; i < PATCH_HEIGHT; i++) {
            column[i] = products[(i * PATCH_WIDTH + j) * (OUT_CHANNELS * IN_CHANNELS / WIDTH) + index];
        }
        columns[j] = grad_filters_line(TILE_HEIGHT, column);
    }
    for (var r = 0u; r < 3u; r++) {
        var row: array<Packet, LINE>;
        for (var j = 0u; j < PATCH_WIDTH; j++) {
            row[j] = columns[j][r];
        }
        let taps = grad_filters_line(TILE_WIDTH, row);
        for (var s = 0u; s < 3u; s++) {
            grad_filters[filters_index(k, r, s, c) / WIDTH] = taps[s];
        }
    }
}
