// Fragments of a matrix product in scalar code: every invocation of a subgroup has all of them, and does all of the work. For
// tests of gemm/matrix_units.wgsl on devices without matrix units.
// Appended by src/ops/gemm/matrix_units.rs.

const FRAGMENT: u32 = 8u;

// Four blocks of 4 x 4: of a at [k,m] (column k, row m), of b at [k,n] (column n, row k), of results at [m,n] (column n, row m).
// Products are written out, since some drivers leave loops that turn too often.
alias Left = array<mat4x4<f32>, 4>;
alias Right = array<mat4x4<f32>, 4>;
alias Sums = array<mat4x4<f32>, 4>;

fn number_of_subgroup(subgroup_id: u32, invocation: u32) -> u32 {
    return invocation / LANES;
}

fn left_at(place: u32) -> Left {
    let next = place + 4u * A_PITCH;
    return array(
        block_at(place, A_PITCH),
        block_at(place + 1u, A_PITCH),
        block_at(next, A_PITCH),
        block_at(next + 1u, A_PITCH),
    );
}

fn right_at(place: u32) -> Right {
    let next = place + 4u * B_PITCH;
    return array(
        transpose(block_at(place, B_PITCH)),
        transpose(block_at(place + 1u, B_PITCH)),
        transpose(block_at(next, B_PITCH)),
        transpose(block_at(next + 1u, B_PITCH)),
    );
}

fn block_at(place: u32, pitch: u32) -> mat4x4<f32> {
    return mat4x4(
        vec4<f32>(tiles[place]),
        vec4<f32>(tiles[place + pitch]),
        vec4<f32>(tiles[place + 2u * pitch]),
        vec4<f32>(tiles[place + 3u * pitch]),
    );
}

fn plus_product(a: Left, b: Right, sums: Sums) -> Sums {
    return array(
        sums[0] + a[0] * b[0] + a[2] * b[2],
        sums[1] + a[0] * b[1] + a[2] * b[3],
        sums[2] + a[1] * b[0] + a[3] * b[2],
        sums[3] + a[1] * b[1] + a[3] * b[3],
    );
}

fn times(sums: Sums, factor: f32) -> Sums {
    return array(sums[0] * factor, sums[1] * factor, sums[2] * factor, sums[3] * factor);
}

fn put_piece(sums: Sums, place: u32) {
    for (var block = 0u; block < 4u; block++) {
        var values = sums;
        let rows = transpose(values[block]);
        for (var row = 0u; row < 4u; row++) {
            pieces[place + (block / 2u * 4u + row) * (FRAGMENT / 4u) + block % 2u] = rows[row];
        }
    }
}
