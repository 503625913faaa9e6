// Strips of STRIP neighbouring input positions along the width, a multiple of the stride: which of the COLUMNS output
// columns meets which input column at which tap is the same for every strip, so that nothing is left of the stride.
// Rows are those of `reach`, the input row counted from the start of the padding.
// Appended to the gradients of the input by src/ops/conv/gpu/few_channels/strip.rs, with STRIP as a const line.

// Output column j of a strip meets, at tap t, its input column i where i + LEAD = j * stride + t * dilation.
override LEAD: u32;
// First output column of the first strip; may wrap.
override FIRST_COLUMN: u32;
// Along each axis, from one tap that an input position meets to the next, stride / gcd(stride, dilation), and the inverse
// of dilation / gcd modulo that: the first tap of the positions with (position + padding) % stride = phase is
// phase / gcd * inverse % step, where gcd divides the phase; else they meet none.
override ROW_STEP: u32;
override ROW_INVERSE: u32;
override TAP_STEP: u32;
override TAP_INVERSE: u32;

override ROW_DIVISOR: u32 = STRIDE_HEIGHT / ROW_STEP;
override TAP_DIVISOR: u32 = STRIDE_WIDTH / TAP_STEP;

fn row_has_taps(reach: u32) -> bool {
    return reach % ROW_DIVISOR == 0u;
}

// Every ROW_STEP-th row of taps from this one on meets the input row.
fn first_tap_row(reach: u32) -> u32 {
    return reach % STRIDE_HEIGHT / ROW_DIVISOR * ROW_INVERSE % ROW_STEP;
}

// The output row that the input row meets at tap r, if they meet; past the last one where it lies before the first.
fn met_row(reach: u32, r: u32) -> u32 {
    return u32((i32(reach) - i32(r * DILATION_HEIGHT)) / i32(STRIDE_HEIGHT));
}

// The first of the COLUMNS output columns that meet a strip of its row at the taps from first_s on; may wrap.
fn first_column(strip: u32, first_s: u32) -> u32 {
    return strip * (STRIP / STRIDE_WIDTH) + FIRST_COLUMN - first_s * DILATION_WIDTH / STRIDE_WIDTH;
}

// Whether the input columns of this phase, phase + u * stride for every u, meet output columns.
fn phase_has_taps(phase: u32) -> bool {
    return (phase + LEAD) % TAP_DIVISOR == 0u;
}

// Every TAP_STEP-th tap from this one on meets the input columns of this phase.
fn tap_of_phase(phase: u32) -> u32 {
    return (phase + LEAD) % STRIDE_WIDTH / TAP_DIVISOR * TAP_INVERSE % TAP_STEP;
}

// The output column that input column i of the strip meets at tap t.
fn met_column(i: u32, t: u32) -> u32 {
    return (i + LEAD - t * DILATION_WIDTH) / STRIDE_WIDTH;
}
