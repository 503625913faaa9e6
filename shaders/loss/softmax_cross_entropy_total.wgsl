// softmax_cross_entropy, second pass: the sums over the rows, as a tree over strided parts, in a fixed order.
// loss[step] = mean(sum over n of row_loss[n]); correct[step] = sum over n of row_correct[n].
// An invocation owns every 64th row; the one workgroup owns them all.
// Defined in src/ops/loss/softmax_cross_entropy.rs; appended files define mean(sum) and count_step.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> correct: array<u32>;
@group(0) @binding(3) var<storage, read> row_loss: array<f32>;
@group(0) @binding(4) var<storage, read> row_correct: array<f32>;

override BATCH_SIZE: u32;
override STEPS: u32;

var<workgroup> losses: array<f32, WORKGROUP_SIZE>;
var<workgroup> hits: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var loss_sum = 0.0;
    var hit_sum = 0u;
    for (var n = invocation; n < BATCH_SIZE; n += WORKGROUP_SIZE) {
        loss_sum += row_loss[n];
        hit_sum += u32(row_correct[n]);
    }
    losses[invocation] = loss_sum;
    hits[invocation] = hit_sum;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            losses[invocation] += losses[invocation + width];
            hits[invocation] += hits[invocation + width];
        }
        workgroupBarrier();
    }
    if (invocation != 0u) {
        return;
    }
    let now = step[0];
    if (now < STEPS) {
        loss[now] = mean(losses[0]);
        correct[now] = hits[0];
    }
    count_step();
}
