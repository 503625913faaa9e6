// Fetching b for gemm/subgroup.wgsl, one value at a time: for sizes that are not multiples of four.
// Column j of a block holds the values of four columns at k + j.
// Appended by src/ops/gemm/subgroup.rs.

alias BPacket = f32;
const B_WIDTH: u32 = 1u;

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    return mat4x4(
        b_of_lines(lines, part, k, end_k),
        b_of_lines(lines, part, k + 1u, end_k),
        b_of_lines(lines, part, k + 2u, end_k),
        b_of_lines(lines, part, k + 3u, end_k),
    );
}

fn b_of_lines(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    return vec4(
        b_or_zero(lines[0], part, k, end_k),
        b_or_zero(lines[1], part, k, end_k),
        b_or_zero(lines[2], part, k, end_k),
        b_or_zero(lines[3], part, k, end_k),
    );
}
