// Fetching a of a matrix product, a value at a time: for sizes that are no multiples of four.
// Column j of a block holds the values of four rows at k + j; rows past the end repeat the last one, k past the end are zero.
// Appended to gemm/tiled.wgsl by src/ops/gemm.rs.

alias APacket = f32;
const A_WIDTH: u32 = 1u;

fn a_lines(part: u32, m: u32) -> array<Place, 4> {
    let last = GEMM_M - 1u;
    return array(
        a_line(part, min(m, last)),
        a_line(part, min(m + 1u, last)),
        a_line(part, min(m + 2u, last)),
        a_line(part, min(m + 3u, last)),
    );
}

fn fetch_a(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    return mat4x4(
        a_inside(lines, part, k, end_k),
        a_inside(lines, part, k + 1u, end_k),
        a_inside(lines, part, k + 2u, end_k),
        a_inside(lines, part, k + 3u, end_k),
    );
}

fn a_inside(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    if (k >= end_k) {
        return vec4<f32>();
    }
    let step = a_step(part, k);
    return vec4(a_value(lines[0], step), a_value(lines[1], step), a_value(lines[2], step), a_value(lines[3], step));
}
