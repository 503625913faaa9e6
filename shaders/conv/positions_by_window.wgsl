// The rows of a convolution's product are the positions of the output window by window, of 2 x 2 each, row by row in a
// window. Positions past the last whole window are none of them.
// Appended to conv/forward_tiled.wgsl by src/ops/conv/max_pool.rs.

override WINDOWS_DOWN: u32 = OUT_HEIGHT / 2u;
override WINDOWS_ACROSS: u32 = OUT_WIDTH / 2u;

struct Position {
    n: u32,
    p: u32,
    q: u32,
}

fn position_of(m: u32) -> Position {
    let window = m / 4u;
    let place = m % 4u;
    let p = window / WINDOWS_ACROSS % WINDOWS_DOWN * 2u + place / 2u;
    let q = window % WINDOWS_ACROSS * 2u + place % 2u;
    return Position(window / (WINDOWS_ACROSS * WINDOWS_DOWN), p, q);
}
