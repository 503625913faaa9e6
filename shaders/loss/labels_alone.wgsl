// The label of a row that has one target.
// Appended to loss/softmax_cross_entropy_rows_shared.wgsl by src/ops/loss/softmax_cross_entropy.rs.

fn label(n: u32, target_class: u32, c: u32) -> f32 {
    return select(0.0, 1.0, c == target_class);
}
