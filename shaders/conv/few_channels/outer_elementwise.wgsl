// The elementwise product of a packet of gradients and a packet of inputs: four depthwise channels, or one pair of
// channels, at a time.
// Appended to conv/few_channels/grad_filters_grouped.wgsl by src/ops/conv/gpu/few_channels/grouped.rs.

alias Sums = Packet;
// Number of packets in Sums.
const PARTS: u32 = 1u;

fn multiply_add(grads: Packet, values: Packet, sums: Sums) -> Sums {
    return fma(grads, values, sums);
}

fn part_of(sums: Sums, part: u32) -> Packet {
    return sums;
}
