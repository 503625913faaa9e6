// Images that are not mixed.
// Appended to batch/augment.wgsl by src/ops/batch/augment.rs.

fn mixed(first_move: u32, n: u32, y: u32, x: u32, c: u32) -> f32 {
    return shown(n, first_move + n * MOVE, y, x, c);
}

fn mix_labels(first_move: u32, n: u32) {}
