// Fetching b of a matrix product, four values at a time: along k where B_CONTIGUOUS_IN_K, else along n.
// The number of values along that axis, and every offset but that of a step along it, are multiples of four.
// Column j of a block holds the values of four columns at k + j; columns past the end repeat the last ones, k past the end are zero.
// Appended to gemm/tiled.wgsl by src/ops/gemm.rs.

alias BPacket = vec4<f32>;
const B_WIDTH: u32 = 4u;

fn b_lines(part: u32, n: u32) -> array<Place, 4> {
    if (!B_CONTIGUOUS_IN_K) {
        return array(b_line(part, min(n, GEMM_N - 4u)), Place(), Place(), Place());
    }
    let last = GEMM_N - 1u;
    return array(
        b_line(part, min(n, last)),
        b_line(part, min(n + 1u, last)),
        b_line(part, min(n + 2u, last)),
        b_line(part, min(n + 3u, last)),
    );
}

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    if (!B_CONTIGUOUS_IN_K) {
        return mat4x4(
            b_inside(lines[0], part, k, end_k),
            b_inside(lines[0], part, k + 1u, end_k),
            b_inside(lines[0], part, k + 2u, end_k),
            b_inside(lines[0], part, k + 3u, end_k),
        );
    }
    if (k >= end_k) {
        return mat4x4<f32>();
    }
    let step = b_step(part, k);
    return transpose(mat4x4(
        b_value(lines[0], step),
        b_value(lines[1], step),
        b_value(lines[2], step),
        b_value(lines[3], step),
    ));
}

fn b_inside(line: Place, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    if (k >= end_k) {
        return vec4<f32>();
    }
    return b_value(line, b_step(part, k));
}
