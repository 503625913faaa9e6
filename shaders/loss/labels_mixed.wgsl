// The label of a row that has two targets: label = (1 - m) * (c == targets[n]) + m * (c == mixed_targets[n]), m = mixed_shares[n].
// Appended to loss/softmax_cross_entropy_rows_shared.wgsl by src/ops/loss/softmax_cross_entropy.rs.

@group(0) @binding(5) var<storage, read> mixed_targets: array<u32>;
@group(0) @binding(6) var<storage, read> mixed_shares: array<f32>;

fn label(n: u32, target_class: u32, c: u32) -> f32 {
    let part = mixed_shares[n];
    return (1.0 - part) * select(0.0, 1.0, c == target_class) + part * select(0.0, 1.0, c == mixed_targets[n]);
}
