// The mean over a batch whose rows have the weights of their targets.
// mean(sum) = sum / total_weight, and 0 where the total weight is 0.
// Appended to the kernels of losses with class weights; loss/total_weight.wgsl writes the total weight before them.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

@group(0) @binding(5) var<storage, read> total_weight: array<f32>;

fn mean(sum: f32) -> f32 {
    let total = total_weight[0];
    return select(sum / total, 0.0, total == 0.0);
}
