// softmax_cross_entropy, before its first pass with class weights: the total weight of a batch, as a tree over strided
// parts.
// total_weight = sum over n of class_weights[targets[n]], over the rows that have a label.
// An invocation owns every 64th row; the one workgroup owns them all.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

@group(0) @binding(0) var<storage, read> targets: array<u32>;
@group(0) @binding(1) var<storage, read> class_weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> total_weight: array<f32>;

override BATCH_SIZE: u32;
override CLASSES: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var weight = 0.0;
    for (var n = invocation; n < BATCH_SIZE; n += WORKGROUP_SIZE) {
        let target_class = targets[n];
        if (target_class < CLASSES) {
            weight += class_weights[target_class];
        }
    }
    let total = sum_over_workgroup(weight, invocation);
    if (invocation == 0u) {
        total_weight[0] = total;
    }
}
