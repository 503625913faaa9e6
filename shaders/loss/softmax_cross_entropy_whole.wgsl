// softmax_cross_entropy of few classes and not too many rows, in one pass: a row's sums run over its classes one by one, and
// the sums over the rows are a tree over strided parts.
// share(n,c) = (1 - SMOOTHING) * (c == targets[n]) + SMOOTHING / CLASSES, softmax = softmax(logits[n]); loss[step] = mean(sum over n,c of share(n,c) * -log(softmax[c])); grad_logits[n,c] = mean(softmax[c] - share(n,c)); correct[step] = number of rows whose first largest logit is the target's.
// An invocation owns every INVOCATIONS-th row; the one workgroup owns them all.
// Defined in src/ops/loss/softmax_cross_entropy.rs, which appends INVOCATIONS as a const line; appended files define mean(sum) and
// count_step.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad_logits: array<f32>;

override BATCH_SIZE: u32;
override CLASSES: u32;
override STEPS: u32;
override SMOOTHING: f32;

const BITS_OF_NAN: u32 = 0x7fc00000u;

var<workgroup> losses: array<f32, INVOCATIONS>;
var<workgroup> hits: array<u32, INVOCATIONS>;

fn share(target_class: u32, c: u32) -> f32 {
    return (1.0 - SMOOTHING) * select(0.0, 1.0, c == target_class) + SMOOTHING / f32(CLASSES);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var loss_sum = 0.0;
    var hit_sum = 0u;
    for (var n = invocation; n < BATCH_SIZE; n += INVOCATIONS) {
        let first_logit = n * CLASSES;
        let target_class = targets[n];
        let labelled = target_class < CLASSES;

        var winner = 0u;
        var largest = logits[first_logit];
        for (var c = 1u; c < CLASSES; c++) {
            let logit = logits[first_logit + c];
            if (exceeds(logit, largest)) {
                winner = c;
                largest = logit;
            }
        }

        // -log(softmax[c]) = log(total) + (largest - logits[n,c]): neither term is negative, so that nothing cancels.
        var total = 0.0;
        var distance = 0.0;
        for (var c = 0u; c < CLASSES; c++) {
            let logit = logits[first_logit + c];
            total += exp(logit - largest);
            let share_of_class = share(target_class, c);
            // A class without a share adds nothing, even if its logit is -infinity.
            if (share_of_class != 0.0) {
                distance += share_of_class * (largest - logit);
            }
        }
        for (var c = 0u; c < CLASSES; c++) {
            var grad = 0.0;
            if (labelled) {
                grad = mean(exp(logits[first_logit + c] - largest) / total - share(target_class, c));
            }
            grad_logits[first_logit + c] = grad;
        }
        if (labelled) {
            var row_loss = log(total) + distance;
            // Compilers may assume that no infinity or NaN reaches exp and log.
            if (!is_finite(largest)) {
                row_loss = bitcast<f32>(BITS_OF_NAN | n);
            }
            loss_sum += row_loss;
            hit_sum += select(0u, 1u, winner == target_class && !is_nan(largest));
        }
    }
    losses[invocation] = loss_sum;
    hits[invocation] = hit_sum;
    for (var width = INVOCATIONS / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (invocation < width) {
            losses[invocation] += losses[invocation + width];
            hits[invocation] += hits[invocation + width];
        }
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
