// Fetching a for gemm/subgroup.wgsl, one value at a time: for sizes that are not multiples of four.
// Column j of a block holds the values of four rows at k + j.
// Appended by src/ops/gemm/subgroup.rs.

alias APacket = f32;
const A_WIDTH: u32 = 1u;

fn fetch_a(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    return mat4x4(
        a_of_lines(lines, part, k, end_k),
        a_of_lines(lines, part, k + 1u, end_k),
        a_of_lines(lines, part, k + 2u, end_k),
        a_of_lines(lines, part, k + 3u, end_k),
    );
}

fn a_of_lines(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    return vec4(
        a_or_zero(lines[0], part, k, end_k),
        a_or_zero(lines[1], part, k, end_k),
        a_or_zero(lines[2], part, k, end_k),
        a_or_zero(lines[3], part, k, end_k),
    );
}

fn a_finished_packet(index: u32) -> APacket {
    return a_finished(vec4(a_packet(index)), vec4(a_factor(index))).x;
}
