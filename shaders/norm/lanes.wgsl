// Rows or slices side by side in a workgroup, and what their lanes have summed put together two by two, always in the
// same order. An invocation owns one of WIDTH channels in one lane.
// Appended by src/ops/norm/slices.rs with the const line INVOCATIONS, and with a file that says what a Lane is and how
// two are put together.

override ROWS: u32;
override CHANNELS: u32;
override SLICES: u32;
override SLICE_ROWS: u32;
override WIDTH: u32;
// The power of two that is half of LANES or somewhat more.
override SPAN: u32;

override LANES: u32 = INVOCATIONS / WIDTH;

var<workgroup> lanes: array<Lane, INVOCATIONS>;

// For the first lane, what all lanes of its channel have.
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
