// Equal weights for all classes.
// class_weight(c) = 1.
// Appended to loss/softmax_cross_entropy_rows_shared.wgsl.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

fn class_weight(c: u32) -> f32 {
    return 1.0;
}
