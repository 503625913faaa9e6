// The rows of a convolution's product are the positions of the output, in their order.
// Appended to conv/forward_tiled.wgsl by src/ops/conv/forward.rs.

struct Position {
    n: u32,
    p: u32,
    q: u32,
}

fn position_of(m: u32) -> Position {
    return Position(m / (OUT_WIDTH * OUT_HEIGHT), m / OUT_WIDTH % OUT_HEIGHT, m % OUT_WIDTH);
}
