// Fetching a of a matrix product, four values at a time: along k if A_CONTIGUOUS_IN_K, otherwise along m.
// The number of values along that axis, and every offset but that of a step along it, are multiples of four.
// Column j of a block holds the values of four rows at k + j; rows past the end repeat the last ones.
// Appended to gemm/tiled.wgsl by src/ops/gemm/tiled.rs.

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

fn fetch_a(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> Block {
    let first = a_step(part, k);
    if (A_CONTIGUOUS_IN_K) {
        let present = vec4(
            a_is_there(lines[0], first, k, end_k),
            a_is_there(lines[1], first, k, end_k),
            a_is_there(lines[2], first, k, end_k),
            a_is_there(lines[3], first, k, end_k),
        );
        let places = vec4(
            a_index(lines[0], first, present.x),
            a_index(lines[1], first, present.y),
            a_index(lines[2], first, present.z),
            a_index(lines[3], first, present.w),
        );
        return Block(transpose(a_at(places)), transpose(a_factors_at(places)), array(present, present, present, present));
    }
    let second = a_next(first, part, k + 1u);
    let third = a_next(second, part, k + 2u);
    let fourth = a_next(third, part, k + 3u);
    let present = vec4(
        a_is_there(lines[0], first, k, end_k),
        a_is_there(lines[0], second, k + 1u, end_k),
        a_is_there(lines[0], third, k + 2u, end_k),
        a_is_there(lines[0], fourth, k + 3u, end_k),
    );
    let places = vec4(
        a_index(lines[0], first, present.x),
        a_index(lines[0], second, present.y),
        a_index(lines[0], third, present.z),
        a_index(lines[0], fourth, present.w),
    );
    return Block(a_at(places), a_factors_at(places), array(present.xxxx, present.yyyy, present.zzzz, present.wwww));
}

fn a_at(places: vec4<u32>) -> mat4x4<f32> {
    return mat4x4(a_packet(places.x), a_packet(places.y), a_packet(places.z), a_packet(places.w));
}

fn a_factors_at(places: vec4<u32>) -> mat4x4<f32> {
    return mat4x4(a_factor(places.x), a_factor(places.y), a_factor(places.z), a_factor(places.w));
}
