// Fetching a of a matrix product, a value at a time: for sizes that are no multiples of four.
// Column j of a block holds the values of four rows at k + j; rows past the end repeat the last one.
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

fn fetch_a(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> Block {
    let first = a_step(part, k);
    let second = a_next(first, part, k + 1u);
    let third = a_next(second, part, k + 2u);
    let fourth = a_next(third, part, k + 3u);
    let present = array(
        a_are_there(lines, first, k, end_k),
        a_are_there(lines, second, k + 1u, end_k),
        a_are_there(lines, third, k + 2u, end_k),
        a_are_there(lines, fourth, k + 3u, end_k),
    );
    let values = mat4x4(
        a_values(lines, first, present[0]),
        a_values(lines, second, present[1]),
        a_values(lines, third, present[2]),
        a_values(lines, fourth, present[3]),
    );
    return Block(values, present);
}

fn a_are_there(lines: array<Place, 4>, step: Place, k: u32, end_k: u32) -> vec4<bool> {
    return vec4(
        a_is_there(lines[0], step, k, end_k),
        a_is_there(lines[1], step, k, end_k),
        a_is_there(lines[2], step, k, end_k),
        a_is_there(lines[3], step, k, end_k),
    );
}

fn a_values(lines: array<Place, 4>, step: Place, present: vec4<bool>) -> vec4<f32> {
    return vec4(
        a_value(lines[0], step, present.x),
        a_value(lines[1], step, present.y),
        a_value(lines[2], step, present.z),
        a_value(lines[3], step, present.w),
    );
}
