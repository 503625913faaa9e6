// Strips of STRIP neighbouring output positions along the width in each of STRIP_ROWS rows, those of all rows and images counted
// through. Rows at the bottom that do not fill a strip are in none.
// Appended to kernels of this folder by those who launch them, with STRIP and STRIP_ROWS as const lines.

// Of a row.
override STRIPS: u32 = (OUT_WIDTH + STRIP - 1u) / STRIP;
override STRIP_LINES: u32 = OUT_HEIGHT / STRIP_ROWS;

struct OutputStrip {
    n: u32,
    first_p: u32,
    first_q: u32,
}

// The strip of this number; strips past the last one lie in images past the last one.
fn output_strip(number: u32) -> OutputStrip {
    let line = number / STRIPS;
    return OutputStrip(line / STRIP_LINES, line % STRIP_LINES * STRIP_ROWS, number % STRIPS * STRIP);
}
