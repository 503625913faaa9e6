// Strips of STRIP neighbouring output positions along the width, those of all rows and images counted through.
// Appended to kernels of this folder by those who launch them, with STRIP as a const line.

// Of a row.
override STRIPS: u32 = (OUT_WIDTH + STRIP - 1u) / STRIP;

struct OutputStrip {
    n: u32,
    p: u32,
    first_q: u32,
}

// The strip of this number; strips past the last one lie in images past the last one.
fn output_strip(number: u32) -> OutputStrip {
    return OutputStrip(number / (STRIPS * OUT_HEIGHT), number / STRIPS % OUT_HEIGHT, number % STRIPS * STRIP);
}
