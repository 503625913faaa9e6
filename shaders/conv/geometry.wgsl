// Sizes of a convolution, set by name from ConvGeometry::constants, and index calculations with them.
// Layouts: input [N,H,W,C], filters [K,R,S,C/groups], output [N,P,Q,K].
// Input position under tap r of output position p: h = p*stride - padding + r*dilation.
// Defined in src/ops/conv/geometry.rs.

override BATCH_SIZE: u32;
override IN_CHANNELS: u32;
override OUT_CHANNELS: u32;
override GROUPS: u32;
override IN_HEIGHT: u32;
override IN_WIDTH: u32;
override OUT_HEIGHT: u32;
override OUT_WIDTH: u32;
override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override STRIDE_HEIGHT: u32;
override STRIDE_WIDTH: u32;
override DILATION_HEIGHT: u32;
override DILATION_WIDTH: u32;
override PADDING_TOP: u32;
override PADDING_LEFT: u32;

override GROUP_IN_CHANNELS: u32 = IN_CHANNELS / GROUPS;
override GROUP_OUT_CHANNELS: u32 = OUT_CHANNELS / GROUPS;
// Whether some window extends past the input.
override WINDOWS_MEET_PADDING: bool = PADDING_TOP + PADDING_LEFT > 0u
    || (OUT_HEIGHT - 1u) * STRIDE_HEIGHT + (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT >= IN_HEIGHT
    || (OUT_WIDTH - 1u) * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH >= IN_WIDTH;

// Whether there is one window at each position of the input: windows are then numbered like positions, shifted by the
// padding.
override OUTPUT_COVERS_INPUT: bool = STRIDE_HEIGHT == 1u && STRIDE_WIDTH == 1u
    && OUT_HEIGHT == IN_HEIGHT && OUT_WIDTH == IN_WIDTH;

// Row h of the input; for a row of the padding, a number past the end, since the subtraction wraps.
fn input_row(p: u32, r: u32) -> u32 {
    return p * STRIDE_HEIGHT + r * DILATION_HEIGHT - PADDING_TOP;
}

fn input_column(q: u32, s: u32) -> u32 {
    return q * STRIDE_WIDTH + s * DILATION_WIDTH - PADDING_LEFT;
}

// Row p of the output whose tap r meets input row h, or a number past the end if there is none.
fn output_row(h: u32, r: u32) -> u32 {
    let reach = h + PADDING_TOP - r * DILATION_HEIGHT;
    return select(OUT_HEIGHT, reach / STRIDE_HEIGHT, reach % STRIDE_HEIGHT == 0u && h + PADDING_TOP >= r * DILATION_HEIGHT);
}

fn output_column(w: u32, s: u32) -> u32 {
    let reach = w + PADDING_LEFT - s * DILATION_WIDTH;
    return select(OUT_WIDTH, reach / STRIDE_WIDTH, reach % STRIDE_WIDTH == 0u && w + PADDING_LEFT >= s * DILATION_WIDTH);
}

fn input_index(n: u32, h: u32, w: u32, c: u32) -> u32 {
    return ((n * IN_HEIGHT + h) * IN_WIDTH + w) * IN_CHANNELS + c;
}

// c is the number of the channel within the group of k.
fn filters_index(k: u32, r: u32, s: u32, c: u32) -> u32 {
    return ((k * KERNEL_HEIGHT + r) * KERNEL_WIDTH + s) * GROUP_IN_CHANNELS + c;
}

fn output_index(n: u32, p: u32, q: u32, k: u32) -> u32 {
    return ((n * OUT_HEIGHT + p) * OUT_WIDTH + q) * OUT_CHANNELS + k;
}
