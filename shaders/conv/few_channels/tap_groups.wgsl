// What the invocations of the filters' gradient own: a tap group, TAPS neighbouring taps of an input channel or packet, in
// some filters, at every PLACES-th strip of a slice. A workgroup owns LANES filters or packets of them in TAP_LANES tap
// groups of one slice, in PLACES places whose sums are added in the end.
// Appended by src/ops/conv/gpu/few_channels/tap_groups.rs to the gradients of the filters, which say what a Sum is and how
// many packets of input channels a filter has (GROUP_PACKETS). The sizes come as const lines.

const PLACE: u32 = LANES * TAP_LANES;
const INVOCATIONS: u32 = PLACE * PLACES;

// Strips of a slice, and of all images.
override SLICE_STRIPS: u32;
override ALL_STRIPS: u32 = BATCH_SIZE * OUT_HEIGHT * STRIPS;

override TAP_BLOCKS: u32 = (KERNEL_WIDTH + TAPS - 1u) / TAPS;
override TAP_GROUPS: u32 = KERNEL_HEIGHT * TAP_BLOCKS * GROUP_PACKETS;

struct TapGroup {
    slice: u32,
    // Of filters, LANES of them.
    block: u32,
    place: u32,
    // Of the filter's input channels.
    packet: u32,
    // Past the last row in tap groups past the last one.
    r: u32,
    first_s: u32,
}

// Workgroups of the same slice are neighbours: they read the same pixels.
fn tap_group_of(workgroup: u32, filter_blocks: u32, invocation: u32) -> TapGroup {
    let blocks = filter_blocks * ((TAP_GROUPS + TAP_LANES - 1u) / TAP_LANES);
    let group = workgroup % blocks / filter_blocks * TAP_LANES + invocation / LANES % TAP_LANES;
    return TapGroup(
        workgroup / blocks,
        workgroup % filter_blocks,
        invocation / PLACE,
        group % GROUP_PACKETS,
        group / (GROUP_PACKETS * TAP_BLOCKS),
        group / GROUP_PACKETS % TAP_BLOCKS * TAPS,
    );
}

// BATCH sums of each invocation.
var<workgroup> partial: array<Sum, BATCH * INVOCATIONS>;

// Adds the places' sums two by two, until the first place has them all.
fn add_places(place: u32, invocation: u32) {
    for (var span = HALF_PLACES; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (place < span && place + span < PLACES) {
            for (var b = 0u; b < BATCH; b++) {
                let sum = b * INVOCATIONS + invocation;
                partial[sum] += partial[sum + span * PLACE];
            }
        }
    }
    workgroupBarrier();
}
