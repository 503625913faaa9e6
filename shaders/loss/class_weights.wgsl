// Weights of classes from a tensor.
// class_weight(c) = class_weights[c].
// Appended to loss/softmax_cross_entropy_rows_shared.wgsl.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

@group(0) @binding(6) var<storage, read> class_weights: array<f32>;

fn class_weight(c: u32) -> f32 {
    return class_weights[c];
}
