// Fetching a of a matrix product, one value at a time: for sizes that are not multiples of four.
// Column j of a block holds the values of four rows at k + j; rows past the end repeat the last one.
// Appended to gemm/tiled.wgsl by src/ops/gemm/tiled.rs.

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
    let places = array(
        a_places(lines, first, present[0]),
        a_places(lines, second, present[1]),
        a_places(lines, third, present[2]),
        a_places(lines, fourth, present[3]),
    );
    let values = mat4x4(a_at(places[0]), a_at(places[1]), a_at(places[2]), a_at(places[3]));
    let factors =
        mat4x4(a_factors_at(places[0]), a_factors_at(places[1]), a_factors_at(places[2]), a_factors_at(places[3]));
    return Block(values, factors, present);
}

fn a_are_there(lines: array<Place, 4>, step: Place, k: u32, end_k: u32) -> vec4<bool> {
    return vec4(
        a_is_there(lines[0], step, k, end_k),
        a_is_there(lines[1], step, k, end_k),
        a_is_there(lines[2], step, k, end_k),
        a_is_there(lines[3], step, k, end_k),
    );
}

fn a_places(lines: array<Place, 4>, step: Place, present: vec4<bool>) -> vec4<u32> {
    return vec4(
        a_index(lines[0], step, present.x),
        a_index(lines[1], step, present.y),
        a_index(lines[2], step, present.z),
        a_index(lines[3], step, present.w),
    );
}

fn a_at(places: vec4<u32>) -> vec4<f32> {
    return vec4(a_packet(places.x), a_packet(places.y), a_packet(places.z), a_packet(places.w));
}

fn a_factors_at(places: vec4<u32>) -> vec4<f32> {
    return vec4(a_factor(places.x), a_factor(places.y), a_factor(places.z), a_factor(places.w));
}
