// Rows or slices side by side in the lanes of a workgroup, and the combination of the lanes' results as a tree, in a
// fixed order. An invocation owns one of WIDTH channels in one lane.
// Appended by src/ops/norm/slices.rs with the const line INVOCATIONS, and with a file that defines a Lane and how two
// are combined.

override ROWS: u32;
override CHANNELS: u32;
override SLICES: u32;
override SLICE_ROWS: u32;
override WIDTH: u32;
// Half of the smallest power of two that is at least LANES.
override SPAN: u32;

override LANES: u32 = INVOCATIONS / WIDTH;

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
