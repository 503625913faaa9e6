// Questions about a float that its bits answer: compilers may take for granted that there is no NaN and no infinity.
// The exponent's bits are all ones in both; an infinity has no other bit set but the sign.

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// Whether value is larger than best, where a NaN is larger than any number.
fn exceeds(value: f32, best: f32) -> bool {
    return ((value > best) | is_nan(value)) & !is_nan(best);
}
