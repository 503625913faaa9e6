// Fetching b of a matrix product, four values at a time: along k if B_CONTIGUOUS_IN_K, otherwise along n.
// The number of values along that axis, and every offset but that of a step along it, are multiples of four.
// Column j of a block holds the values of four columns at k + j; columns past the end repeat the last ones.
// Appended to gemm/tiled.wgsl by src/ops/gemm/tiled.rs.

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

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> Block {
    let first = b_step(part, k);
    if (B_CONTIGUOUS_IN_K) {
        let present = vec4(
            b_is_there(lines[0], first, k, end_k),
            b_is_there(lines[1], first, k, end_k),
            b_is_there(lines[2], first, k, end_k),
            b_is_there(lines[3], first, k, end_k),
        );
        let places = vec4(
            b_index(lines[0], first, present.x),
            b_index(lines[1], first, present.y),
            b_index(lines[2], first, present.z),
            b_index(lines[3], first, present.w),
        );
        return Block(transpose(b_at(places)), mat4x4<f32>(), array(present, present, present, present));
    }
    let second = b_next(first, part, k + 1u);
    let third = b_next(second, part, k + 2u);
    let fourth = b_next(third, part, k + 3u);
    let present = vec4(
        b_is_there(lines[0], first, k, end_k),
        b_is_there(lines[0], second, k + 1u, end_k),
        b_is_there(lines[0], third, k + 2u, end_k),
        b_is_there(lines[0], fourth, k + 3u, end_k),
    );
    let places = vec4(
        b_index(lines[0], first, present.x),
        b_index(lines[0], second, present.y),
        b_index(lines[0], third, present.z),
        b_index(lines[0], fourth, present.w),
    );
    return Block(b_at(places), mat4x4<f32>(), array(present.xxxx, present.yyyy, present.zzzz, present.wwww));
}

fn b_at(places: vec4<u32>) -> mat4x4<f32> {
    return mat4x4(b_packet(places.x), b_packet(places.y), b_packet(places.z), b_packet(places.w));
}
