// softmax_cross_entropy, first pass where more than one class may have a share in a row's loss: labels are smoothed or mixed,
// or classes weighted.
// share(n,c) = class_weight(c) * ((1 - SMOOTHING) * label(n,c) + SMOOTHING / CLASSES), softmax = softmax(logits[n]); row_loss[n] = sum over c of share(n,c) * -log(softmax[c]); grad_logits[n,c] = mean(softmax[c] * sum over c of share(n,c) - share(n,c)).
// An invocation owns every 64th class of a row; a workgroup owns the row.
// Defined in src/ops/loss/softmax_cross_entropy.rs; appended files define class_weight(c), mean(sum) and label(n,target_class,c).

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> row_correct: array<f32>;

override BATCH_SIZE: u32;
override CLASSES: u32;
override SMOOTHING: f32;

const BITS_OF_NAN: u32 = 0x7fc00000u;

fn share(n: u32, target_class: u32, c: u32) -> f32 {
    return class_weight(c) * ((1.0 - SMOOTHING) * label(n, target_class, c) + SMOOTHING / f32(CLASSES));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = workgroup_number(workgroup, workgroups);
    if (n >= BATCH_SIZE) {
        return;
    }
    let first_logit = n * CLASSES;
    let target_class = targets[n];
    let labelled = target_class < CLASSES;
    let winner = winner_of_row(first_logit, invocation);
    let largest = logits[first_logit + winner];

    // -log(softmax[c]) = log(total) + (largest - logits[n,c]): neither term is negative, so that nothing cancels.
    var exponentials = 0.0;
    var shares = 0.0;
    var distances = 0.0;
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        let logit = logits[first_logit + c];
        exponentials += exp(logit - largest);
        let share_of_class = share(n, target_class, c);
        // A class without a share adds nothing, even if its logit is -infinity.
        if (share_of_class != 0.0) {
            shares += share_of_class;
            distances += share_of_class * (largest - logit);
        }
    }
    let total = sum_over_workgroup(exponentials, invocation);
    let all_shares = sum_over_workgroup(shares, invocation);
    let distance = sum_over_workgroup(distances, invocation);

    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        var grad = 0.0;
        if (labelled) {
            grad = mean(exp(logits[first_logit + c] - largest) / total * all_shares - share(n, target_class, c));
        }
        grad_logits[first_logit + c] = grad;
    }
    if (invocation == 0u) {
        var loss = 0.0;
        if (labelled) {
            loss = all_shares * log(total) + distance;
            // Compilers may assume that no infinity or NaN reaches exp and log.
            if (!is_finite(largest)) {
                loss = bitcast<f32>(BITS_OF_NAN | n);
            }
        }
        row_loss[n] = loss;
        row_correct[n] = select(0.0, 1.0, winner == target_class && !is_nan(largest));
    }
}
