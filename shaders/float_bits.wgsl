// Tests of a float by its bits, since compilers may assume that there are no NaNs and no infinities.
// In both, all bits of the exponent are ones; an infinity has no other bit set except the sign.

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// Whether value is larger than best; a NaN counts as larger than any number.
fn exceeds(value: f32, best: f32) -> bool {
    return ((value > best) | is_nan(value)) & !is_nan(best);
}
