// augment_batch, direct: every value of a batch is fetched from where its image's move says, and mixed with its partner's.
// shown[n,y,x,c] = gain * batch[n, row . (y,x,1), column . (y,x,1), c] + offset, or 0 within a rectangle.
// An invocation owns one value, and that of an image's first value also owns its target; a workgroup owns 64 consecutive
// values.
// Defined in src/ops/batch/augment.rs; appended files define pixel(coordinate, size), mixed(..) and mix_labels(..).

@group(0) @binding(0) var<storage, read> batch: array<f32>;
@group(0) @binding(1) var<storage, read> normalisation: array<f32>;
@group(0) @binding(2) var<storage, read> moves: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> input: array<f32>;

override BATCH_SIZE: u32;
override HEIGHT: u32;
override WIDTH: u32;
override CHANNELS: u32;
override STEPS: u32;

// Values of a move, in the order of Move::to_row.
const MOVE: u32 = 20u;
const ROW: u32 = 0u;
const COLUMN: u32 = 3u;
const GAIN: u32 = 6u;
const OFFSET: u32 = 7u;
const CUT: u32 = 8u;

const FARTHEST: f32 = 16777216.0;
const BLACK: i32 = -1;

// Coordinate of the place that is shown at (y, x).
fn place(first: u32, y: u32, x: u32) -> f32 {
    let sum = moves[first] * f32(y) + moves[first + 1u] * f32(x) + moves[first + 2u];
    return clamp(sum, -FARTHEST, FARTHEST);
}

// Whether a pixel lies in the rectangle top, left, bottom, right.
fn is_within(first: u32, y: u32, x: u32) -> bool {
    let place = vec2(f32(y), f32(x));
    let start = vec2(moves[first], moves[first + 1u]);
    let end = vec2(moves[first + 2u], moves[first + 3u]);
    return all(start <= place) && all(place < end);
}

fn value_at(n: u32, y: i32, x: i32, c: u32) -> f32 {
    let row = pixel(y, i32(HEIGHT));
    let column = pixel(x, i32(WIDTH));
    if (row == BLACK || column == BLACK) {
        return normalisation[CHANNELS + c];
    }
    return batch[((n * HEIGHT + u32(row)) * WIDTH + u32(column)) * CHANNELS + c];
}

fn shown(n: u32, first: u32, y: u32, x: u32, c: u32) -> f32 {
    if (is_within(first + CUT, y, x)) {
        return 0.0;
    }
    let v = place(first + ROW, y, x);
    let u = place(first + COLUMN, y, x);
    let top = i32(floor(v));
    let left = i32(floor(u));
    let down = v - floor(v);
    let across = u - floor(u);
    var value = value_at(n, top, left, c);
    if (across != 0.0) {
        value = (1.0 - across) * value + across * value_at(n, top, left + 1, c);
    }
    if (down != 0.0) {
        var lower = value_at(n, top + 1, left, c);
        if (across != 0.0) {
            lower = (1.0 - across) * lower + across * value_at(n, top + 1, left + 1, c);
        }
        value = (1.0 - down) * value + down * lower;
    }
    return moves[first + GAIN] * value + moves[first + OFFSET];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let elements = HEIGHT * WIDTH * CHANNELS;
    let now = step[0];
    if (index >= BATCH_SIZE * elements || now >= STEPS) {
        return;
    }
    let n = index / elements;
    let element = index % elements;
    let y = element / (WIDTH * CHANNELS);
    let x = element / CHANNELS % WIDTH;
    let c = element % CHANNELS;
    let first_move = now * BATCH_SIZE * MOVE;
    input[index] = mixed(first_move, n, y, x, c);
    if (element == 0u) {
        mix_labels(first_move, n);
    }
}
