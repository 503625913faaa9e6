// Fetching b of a matrix product, one value at a time: for sizes that are not multiples of four.
// Column j of a block holds the values of four columns at k + j; columns past the end repeat the last one.
// Appended to gemm/tiled.wgsl by src/ops/gemm/tiled.rs.

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

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> Block {
    let first = b_step(part, k);
    let second = b_next(first, part, k + 1u);
    let third = b_next(second, part, k + 2u);
    let fourth = b_next(third, part, k + 3u);
    let present = array(
        b_are_there(lines, first, k, end_k),
        b_are_there(lines, second, k + 1u, end_k),
        b_are_there(lines, third, k + 2u, end_k),
        b_are_there(lines, fourth, k + 3u, end_k),
    );
    let places = array(
        b_places(lines, first, present[0]),
        b_places(lines, second, present[1]),
        b_places(lines, third, present[2]),
        b_places(lines, fourth, present[3]),
    );
    let values = mat4x4(b_at(places[0]), b_at(places[1]), b_at(places[2]), b_at(places[3]));
    return Block(values, mat4x4<f32>(), present);
}

fn b_are_there(lines: array<Place, 4>, step: Place, k: u32, end_k: u32) -> vec4<bool> {
    return vec4(
        b_is_there(lines[0], step, k, end_k),
        b_is_there(lines[1], step, k, end_k),
        b_is_there(lines[2], step, k, end_k),
        b_is_there(lines[3], step, k, end_k),
    );
}

fn b_places(lines: array<Place, 4>, step: Place, present: vec4<bool>) -> vec4<u32> {
    return vec4(
        b_index(lines[0], step, present.x),
        b_index(lines[1], step, present.y),
        b_index(lines[2], step, present.z),
        b_index(lines[3], step, present.w),
    );
}

fn b_at(places: vec4<u32>) -> vec4<f32> {
    return vec4(b_packet(places.x), b_packet(places.y), b_packet(places.z), b_packet(places.w));
}
