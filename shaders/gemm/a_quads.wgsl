// Fetching a of a matrix product, four values at a time: along k where A_CONTIGUOUS_IN_K, else along m.
// The number of values along that axis, and every offset but that of a step along it, are multiples of four.
// Column j of a block holds the values of four rows at k + j; rows past the end repeat the last ones, k past the end are zero.
// Appended to gemm/tiled.wgsl by src/ops/gemm.rs.

alias APacket = vec4<f32>;
const A_WIDTH: u32 = 4u;

fn a_lines(part: u32, m: u32) -> array<Place, 4> {
    if (!A_CONTIGUOUS_IN_K) {
        return array(a_line(part, min(m, GEMM_M - 4u)), Place(), Place(), Place());
    }
    let last = GEMM_M - 1u;
    return array(
        a_line(part, min(m, last)),
        a_line(part, min(m + 1u, last)),
        a_line(part, min(m + 2u, last)),
        a_line(part, min(m + 3u, last)),
    );
}

fn fetch_a(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    if (!A_CONTIGUOUS_IN_K) {
        return mat4x4(
            a_inside(lines[0], part, k, end_k),
            a_inside(lines[0], part, k + 1u, end_k),
            a_inside(lines[0], part, k + 2u, end_k),
            a_inside(lines[0], part, k + 3u, end_k),
        );
    }
    if (k >= end_k) {
        return mat4x4<f32>();
    }
    let step = a_step(part, k);
    return transpose(mat4x4(
        a_value(lines[0], step),
        a_value(lines[1], step),
        a_value(lines[2], step),
        a_value(lines[3], step),
    ));
}

fn a_inside(line: Place, part: u32, k: u32, end_k: u32) -> vec4<f32> {
    if (k >= end_k) {
        return vec4<f32>();
    }
    return a_value(line, a_step(part, k));
}
