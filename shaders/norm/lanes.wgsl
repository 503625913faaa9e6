// Rows or slices side by side in the lanes of a workgroup, and the combination of the lanes' results as a tree, in a
// fixed order. An invocation owns one of WIDTH channels in one lane.
// Appended by src/ops/norm/slices.rs with the const lines INVOCATIONS and ROWS_TOGETHER, and with a file that defines a
// Lane and how two are combined.

override ROWS: u32;
override CHANNELS: u32;
override SLICES: u32;
override SLICE_ROWS: u32;
override WIDTH: u32;
// Half of the smallest power of two that is at least LANES.
override SPAN: u32;

override LANES: u32 = INVOCATIONS / WIDTH;
// Workgroups of a slice.
override BLOCKS: u32 = (CHANNELS + WIDTH - 1u) / WIDTH;

// What an invocation owns: channel k in a lane of a slice, every LANES-th of the slice's rows from the first on.
struct Place {
    is_inside: bool,
    slice: u32,
    k: u32,
    lane: u32,
    first_row: u32,
    end_row: u32,
}

fn place_of(number: u32, invocation: u32) -> Place {
    let slice = number / BLOCKS;
    let k = number % BLOCKS * WIDTH + invocation % WIDTH;
    let lane = invocation / WIDTH;
    let is_inside = slice < SLICES && k < CHANNELS && lane < LANES;
    let first_row = slice * SLICE_ROWS + lane;
    return Place(is_inside, slice, k, lane, first_row, min((slice + 1u) * SLICE_ROWS, ROWS));
}

var<workgroup> lanes: array<Lane, INVOCATIONS>;

// For the first lane, the combination of all lanes of its channel.
fn all_lanes(own: Lane, invocation: u32) -> Lane {
    lanes[invocation] = own;
    let lane = invocation / WIDTH;
    for (var span = SPAN; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (lane < span && lane + span < LANES) {
            lanes[invocation] = together(lanes[invocation], lanes[invocation + span * WIDTH]);
        }
    }
    return lanes[invocation];
}

// The same for all lanes.
fn of_all_lanes(own: Lane, invocation: u32) -> Lane {
    all_lanes(own, invocation);
    workgroupBarrier();
    return lanes[invocation % WIDTH];
}
