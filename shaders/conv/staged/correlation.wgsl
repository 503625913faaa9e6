// conv2d.forward and conv2d.grad_input at stride 1, staged: sums over patches that lie in workgroup memory.
// result[n,y,x,b] = sum over r,s,a of source[n,y+r-lead,x+s-lead,a] * weight(r,s,a,b), in fours of channels a and b.
// An invocation owns ROWS results below each other in QUADS fours of channels: the values of a column are read once for
// all its taps. A workgroup owns COLUMNS x (ROW_LANES * ROWS) positions of an image in LANES * QUADS fours of channels, and
// stages the source under them and its weights STAGED_QUADS fours of source channels at a time.
// The file that it is appended to defines source_four and weights_of_four, and stores; src/ops/conv/gpu/staged.rs appends
// the sizes as const lines.

const POSITIONS: u32 = COLUMNS * ROW_LANES;
const INVOCATIONS: u32 = POSITIONS * LANES;
const BLOCK: u32 = LANES * QUADS;
const STAGED_HEIGHT: u32 = ROW_LANES * ROWS + TAP_ROWS - 1u;
const STAGED_WIDTH: u32 = COLUMNS + TAP_COLUMNS - 1u;
// Odd, so that fours of channels of a position, which are neighbours in memory, lie in different banks.
const PLANE: u32 = (STAGED_HEIGHT * STAGED_WIDTH) | 1u;
const COLUMN: u32 = ROWS + TAP_ROWS - 1u;
const TAPS: u32 = TAP_ROWS * TAP_COLUMNS;
const STAGED_CHANNELS: u32 = 4u * STAGED_QUADS;

override SOURCE_QUADS: u32 = SOURCE_CHANNELS / 4u;
override RESULT_QUADS: u32 = RESULT_CHANNELS / 4u;
override BLOCKS: u32 = (RESULT_QUADS + BLOCK - 1u) / BLOCK;
override TILES_ACROSS: u32 = (RESULT_WIDTH + COLUMNS - 1u) / COLUMNS;
override TILES_DOWN: u32 = (RESULT_HEIGHT + ROW_LANES * ROWS - 1u) / (ROW_LANES * ROWS);

// [STAGED_QUADS,STAGED_HEIGHT,STAGED_WIDTH]
var<workgroup> sources: array<vec4<f32>, STAGED_QUADS * PLANE>;
// [TAP_ROWS,TAP_COLUMNS,STAGED_CHANNELS,BLOCK], each of four channels of the result.
var<workgroup> weights: array<vec4<f32>, TAPS * STAGED_CHANNELS * BLOCK>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // Consecutive workgroups share positions, so that they read the same source.
    let number = workgroup_number(workgroup, workgroups);
    let first_quad = number % BLOCKS * BLOCK;
    let tile = number / BLOCKS;
    let first_x = tile % TILES_ACROSS * COLUMNS;
    let first_y = tile / TILES_ACROSS % TILES_DOWN * (ROW_LANES * ROWS);
    let n = tile / (TILES_ACROSS * TILES_DOWN);
    if (n >= BATCH_SIZE) {
        return;
    }
    let column = invocation % COLUMNS;
    let row = invocation / COLUMNS % ROW_LANES * ROWS;
    let lane = invocation / POSITIONS;
    var sums: array<vec4<f32>, ROWS * QUADS>;
    for (var first = 0u; first < SOURCE_QUADS; first += STAGED_QUADS) {
        stage(n, first_y, first_x, first, first_quad, invocation);
        for (var a = 0u; a < STAGED_QUADS; a++) {
            for (var s = 0u; s < TAP_COLUMNS; s++) {
                let place = a * PLANE + row * STAGED_WIDTH + column + s;
                var values: array<vec4<f32>, COLUMN>;
                for (var j = 0u; j < COLUMN; j++) {
                    values[j] = sources[place + j * STAGED_WIDTH];
                }
                for (var r = 0u; r < TAP_ROWS; r++) {
                    let weight = ((r * TAP_COLUMNS + s) * STAGED_CHANNELS + 4u * a) * BLOCK + lane;
                    for (var j = 0u; j < QUADS; j++) {
                        let matrix = weights_at(weight + j * LANES);
                        for (var i = 0u; i < ROWS; i++) {
                            sums[i * QUADS + j] = multiply_add(matrix, values[i + r], sums[i * QUADS + j]);
                        }
                    }
                }
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < QUADS; j++) {
            let y = first_y + row + i;
            let x = first_x + column;
            let quad = first_quad + lane + j * LANES;
            if (y < RESULT_HEIGHT && x < RESULT_WIDTH && quad < RESULT_QUADS) {
                store_four(((n * RESULT_HEIGHT + y) * RESULT_WIDTH + x) * RESULT_QUADS + quad, quad, sums[i * QUADS + j]);
            }
        }
    }
}

fn weights_at(place: u32) -> mat4x4<f32> {
    return mat4x4(weights[place], weights[place + BLOCK], weights[place + 2u * BLOCK], weights[place + 3u * BLOCK]);
}

fn multiply_add(matrix: mat4x4<f32>, value: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    let first = fma(matrix[1], vec4(value.y), fma(matrix[0], vec4(value.x), sum));
    return fma(matrix[3], vec4(value.w), fma(matrix[2], vec4(value.z), first));
}

// Copies the source under the workgroup's positions and the weights of its channels, from four `first` of the source's
// channels on. Outside the source are zeros; channels past the result's last repeat it.
fn stage(n: u32, first_y: u32, first_x: u32, first: u32, first_quad: u32, invocation: u32) {
    workgroupBarrier();
    for (var i = invocation; i < STAGED_HEIGHT * STAGED_WIDTH * STAGED_QUADS; i += INVOCATIONS) {
        let position = i / STAGED_QUADS;
        let y = first_y + position / STAGED_WIDTH - LEAD_ROWS;
        let x = first_x + position % STAGED_WIDTH - LEAD_COLUMNS;
        let is_inside = y < SOURCE_HEIGHT && x < SOURCE_WIDTH;
        let index = ((n * SOURCE_HEIGHT + y) * SOURCE_WIDTH + x) * SOURCE_QUADS + first + i % STAGED_QUADS;
        let value = source_four(select(0u, index, is_inside));
        sources[i % STAGED_QUADS * PLANE + position] = select(vec4<f32>(), value, is_inside);
    }
    for (var i = invocation; i < TAPS * STAGED_CHANNELS * BLOCK; i += INVOCATIONS) {
        let channel = i % STAGED_CHANNELS;
        let tap = i / STAGED_CHANNELS % TAPS;
        let quad = i / (STAGED_CHANNELS * TAPS);
        let four = min(first_quad + quad, RESULT_QUADS - 1u);
        weights[(tap * STAGED_CHANNELS + channel) * BLOCK + quad] = weights_of_four(tap, 4u * first + channel, four);
    }
    workgroupBarrier();
}
