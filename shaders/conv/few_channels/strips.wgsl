// The places of invocations, each of which owns a packet of channels in a strip of STRIP neighbours along a tensor's
// width.
// A workgroup owns LANES packets in STRIP_LANES neighbouring strips of ROW_LANES neighbouring rows, so that values
// shared by their windows are read while they are in a near cache. Rows are numbered through all images. Consecutive
// workgroups share pixels.
// Appended by src/ops/conv/gpu/few_channels/grouped.rs, with its sizes as const lines.

// Of the tensor that is written: number of packets of its channels, of strips in a row, and of rows of all images.
override PACKETS: u32;
override STRIPS: u32;
override ROWS: u32;

const INVOCATIONS: u32 = LANES * STRIP_LANES * ROW_LANES;

struct Place {
    first_packet: u32,
    lane: u32,
    packet: u32,
    strip: u32,
    row: u32,
    // Places past the end of an axis have no strip; their packet is the last one.
    has_strip: bool,
}

fn place_of(workgroup: u32, invocation: u32) -> Place {
    let packet_blocks = (PACKETS + LANES - 1u) / LANES;
    let strip_blocks = (STRIPS + STRIP_LANES - 1u) / STRIP_LANES;
    let block = workgroup / packet_blocks;
    let first_packet = workgroup % packet_blocks * LANES;
    let lane = invocation % LANES;
    let packet = first_packet + lane;
    let strip = block % strip_blocks * STRIP_LANES + invocation / LANES % STRIP_LANES;
    let row = block / strip_blocks * ROW_LANES + invocation / (LANES * STRIP_LANES);
    let has_strip = packet < PACKETS && strip < STRIPS && row < ROWS;
    return Place(first_packet, lane, min(packet, PACKETS - 1u), strip, row, has_strip);
}
