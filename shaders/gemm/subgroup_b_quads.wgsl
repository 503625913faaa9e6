// Fetching b for gemm/subgroup.wgsl, four values at a time: along k if B_CONTIGUOUS_IN_K, otherwise along n.
// The number of values along that axis, and every offset but that of a step along it, are multiples of four.
// Column j of a block holds the values of four columns at k + j.
// Appended by src/ops/gemm/subgroup.rs.

alias BPacket = vec4<f32>;
const B_WIDTH: u32 = 4u;

fn fetch_b(lines: array<Place, 4>, part: u32, k: u32, end_k: u32) -> mat4x4<f32> {
    if (B_CONTIGUOUS_IN_K) {
        return transpose(mat4x4(
            b_or_zero(lines[0], part, k, end_k),
            b_or_zero(lines[1], part, k, end_k),
            b_or_zero(lines[2], part, k, end_k),
            b_or_zero(lines[3], part, k, end_k),
        ));
    }
    return mat4x4(
        b_or_zero(lines[0], part, k, end_k),
        b_or_zero(lines[0], part, k + 1u, end_k),
        b_or_zero(lines[0], part, k + 2u, end_k),
        b_or_zero(lines[0], part, k + 3u, end_k),
    );
}
