// The outer product of the gradients of four filters and four channels of the input. A part of the sums belongs to one
// filter.
// Appended to conv/few_channels/grad_filters_grouped.wgsl by src/ops/conv/gpu/few_channels/grouped.rs.

alias Sums = mat4x4<f32>;
// Number of packets in Sums.
const PARTS: u32 = 4u;

fn multiply_add(grads: Packet, values: Packet, sums: Sums) -> Sums {
    return mat4x4(
        fma(vec4(grads.x), values, sums[0]),
        fma(vec4(grads.y), values, sums[1]),
        fma(vec4(grads.z), values, sums[2]),
        fma(vec4(grads.w), values, sums[3]),
    );
}

fn part_of(sums: Sums, part: u32) -> Packet {
    return sums[part];
}
