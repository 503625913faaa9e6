// Fetching b of a matrix product, a value at a time: for sizes that are no multiples of four.
// Column j of a block holds the values of four columns at k + j; columns past the end repeat the last one, k past the end are zero.
// Appended to gemm/tiled.wgsl by src/ops/gemm.rs.

alias BPacket = f32;
const B_WIDTH: u32 = 1u;

fn b_lines(part: u32, n: u32) -> array<Place, 4> {
    let last = GEMM_N - 1u;
    return array(
        b_line(part, min(n, last)),
        b_line(part, min(n + 1u, last)),
        b_line(part, min(n + 2u, last)),
        b_line(part, min(n + 3u, last)),
    );
}

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    return mat4x4(
        b_inside(lines, part, k, end_k),
        b_inside(lines, part, k + 1u, end_k),
        b_inside(lines, part, k + 2u, end_k),
        b_inside(lines, part, k + 3u, end_k),
    );
}

fn b_inside(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    if (k >= end_k) {
        return vec4<f32>();
    }
    let step = b_step(part, k);
    return vec4(b_value(lines[0], step), b_value(lines[1], step), b_value(lines[2], step), b_value(lines[3], step));
}
