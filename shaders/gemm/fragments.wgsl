// Multiplying fragments of a matrix product on matrix units.
// Appended to gemm/matrix_units.wgsl by src/ops/gemm/matrix_units.rs, with the file that defines the fragments.

fn number_of_subgroup(subgroup_id: u32, invocation: u32) -> u32 {
    return subgroup_id;
}

// In a tile, a's values for one k are neighbours, and so are b's.
fn left_at(place: u32) -> Left {
    return coopLoad<Left>(&tiles[place], A_PITCH);
}

fn right_at(place: u32) -> Right {
    return coopLoadT<Right>(&tiles[place], B_PITCH);
}

fn plus_product(a: Left, b: Right, sums: Sums) -> Sums {
    return coopMultiplyAdd(a, b, sums);
}

fn times(sums: Sums, factor: f32) -> Sums {
    return sums * factor;
}

fn put_piece(sums: Sums, place: u32) {
    coopStoreT(sums, &pieces[place], FRAGMENT / 4u);
}
