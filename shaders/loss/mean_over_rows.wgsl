// The mean over a batch whose rows have weight 1 each, rows without a label included.
// mean(sum) = sum / N.
// Appended to the kernels of losses without class weights.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

fn mean(sum: f32) -> f32 {
    return sum / f32(BATCH_SIZE);
}
