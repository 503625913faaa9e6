// Fragments of a matrix product in scalar code, for tests of gemm/matrix_units.wgsl on devices without matrix units. An invocation
// has one row of a's fragments and of the results', and all of b's; where there are more invocations than rows, some have the same.
// Appended by src/ops/gemm/matrix_units.rs.

const FRAGMENT: u32 = 8u;
// Row k of b begins at 2 * k.
alias Left = array<f32, 8>;
alias Right = array<vec4<f32>, 16>;
alias Sums = array<vec4<f32>, 2>;

var<private> row: u32;

fn number_of_subgroup(subgroup_id: u32, invocation: u32) -> u32 {
    row = invocation % LANES % FRAGMENT;
    return invocation / LANES;
}

fn left_at(place: u32) -> Left {
    return array(
        own_value(place, 0u),
        own_value(place, 1u),
        own_value(place, 2u),
        own_value(place, 3u),
        own_value(place, 4u),
        own_value(place, 5u),
        own_value(place, 6u),
        own_value(place, 7u),
    );
}

fn own_value(place: u32, k: u32) -> f32 {
    return f32(tiles[place + k * A_PITCH + row / 4u][row % 4u]);
}

fn right_at(place: u32) -> Right {
    return array(
        packet_of_b(place, 0u, 0u),
        packet_of_b(place, 0u, 1u),
        packet_of_b(place, 1u, 0u),
        packet_of_b(place, 1u, 1u),
        packet_of_b(place, 2u, 0u),
        packet_of_b(place, 2u, 1u),
        packet_of_b(place, 3u, 0u),
        packet_of_b(place, 3u, 1u),
        packet_of_b(place, 4u, 0u),
        packet_of_b(place, 4u, 1u),
        packet_of_b(place, 5u, 0u),
        packet_of_b(place, 5u, 1u),
        packet_of_b(place, 6u, 0u),
        packet_of_b(place, 6u, 1u),
        packet_of_b(place, 7u, 0u),
        packet_of_b(place, 7u, 1u),
    );
}

fn packet_of_b(place: u32, k: u32, number: u32) -> vec4<f32> {
    return vec4<f32>(tiles[place + k * B_PITCH + number]);
}

// Written out, since some drivers leave loops that turn too often.
fn plus_product(a: Left, b: Right, sums: Sums) -> Sums {
    var results = sums;
    results[0] = fma(vec4(a[0]), b[0], results[0]);
    results[1] = fma(vec4(a[0]), b[1], results[1]);
    results[0] = fma(vec4(a[1]), b[2], results[0]);
    results[1] = fma(vec4(a[1]), b[3], results[1]);
    results[0] = fma(vec4(a[2]), b[4], results[0]);
    results[1] = fma(vec4(a[2]), b[5], results[1]);
    results[0] = fma(vec4(a[3]), b[6], results[0]);
    results[1] = fma(vec4(a[3]), b[7], results[1]);
    results[0] = fma(vec4(a[4]), b[8], results[0]);
    results[1] = fma(vec4(a[4]), b[9], results[1]);
    results[0] = fma(vec4(a[5]), b[10], results[0]);
    results[1] = fma(vec4(a[5]), b[11], results[1]);
    results[0] = fma(vec4(a[6]), b[12], results[0]);
    results[1] = fma(vec4(a[6]), b[13], results[1]);
    results[0] = fma(vec4(a[7]), b[14], results[0]);
    results[1] = fma(vec4(a[7]), b[15], results[1]);
    return results;
}

fn times(sums: Sums, factor: f32) -> Sums {
    return array(sums[0] * factor, sums[1] * factor);
}

fn put_piece(sums: Sums, place: u32) {
    pieces[place + row * 2u] = sums[0];
    pieces[place + row * 2u + 1u] = sums[1];
}
