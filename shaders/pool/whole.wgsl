// The first largest value of each channel of an image, a NaN counting as larger than any number.
// An invocation owns one channel in one lane (every LANES-th pixel of the image); a workgroup owns WIDTH channels of an
// image, whose pixels are the rows of a slice.
// Appended by src/ops/pool/whole.rs to kernels that bind the input, with INVOCATIONS as a const line.

override ROWS: u32;
override CHANNELS: u32;
override SLICES: u32;
override SLICE_ROWS: u32;
override WIDTH: u32;

override LANES: u32 = INVOCATIONS / WIDTH;

const NOWHERE: u32 = 0xffffffffu;

var<workgroup> lane_values: array<f32, INVOCATIONS>;
var<workgroup> lane_winners: array<u32, INVOCATIONS>;

// What an invocation owns.
struct Place {
    image: u32,
    channel: u32,
    lane: u32,
    // A workgroup's last channels and lanes may not exist.
    exists: bool,
}

fn place(number: u32, invocation: u32) -> Place {
    let blocks = (CHANNELS + WIDTH - 1u) / WIDTH;
    let image = number / blocks;
    let channel = number % blocks * WIDTH + invocation % WIDTH;
    let lane = invocation / WIDTH;
    return Place(image, channel, lane, image < SLICES && channel < CHANNELS && lane < LANES);
}

fn index_of(place: Place, pixel: u32) -> u32 {
    return (place.image * SLICE_ROWS + pixel) * CHANNELS + place.channel;
}

// Leaves the value and the index of the largest in the first lane's places of the arrays.
fn find_winners(place: Place, invocation: u32) {
    var winner = NOWHERE;
    var best = 0.0;
    if (place.exists) {
        for (var pixel = place.lane; pixel < SLICE_ROWS; pixel += LANES) {
            let rival = index_of(place, pixel);
            let value = input[rival];
            if (winner == NOWHERE || exceeds(value, best)) {
                winner = rival;
                best = value;
            }
        }
    }
    lane_values[invocation] = best;
    lane_winners[invocation] = winner;
    workgroupBarrier();
    if (place.lane == 0u) {
        for (var other = 1u; other < LANES; other++) {
            let rival = lane_winners[other * WIDTH + invocation];
            let value = lane_values[other * WIDTH + invocation];
            // Of equal values, the first in the image wins.
            let wins = exceeds(value, best) || (!exceeds(best, value) && rival < winner);
            if (rival != NOWHERE && wins) {
                winner = rival;
                best = value;
            }
        }
        lane_values[invocation] = best;
        lane_winners[invocation] = winner;
    }
    workgroupBarrier();
}
