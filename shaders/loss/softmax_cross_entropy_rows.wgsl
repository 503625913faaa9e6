// softmax_cross_entropy, first pass: the loss, the correctness and the gradient of every row, sums as trees over strided parts.
// row_loss[n] = log(sum over c of exp(logits[n,c])) - logits[n,targets[n]]; grad_logits[n,c] = (softmax(logits[n])[c] - (c == targets[n])) / N.
// An invocation owns every 64th class of a row; a workgroup owns the row.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> row_correct: array<f32>;

override BATCH_SIZE: u32;
override CLASSES: u32;

const BITS_OF_NAN: u32 = 0x7fc00000u;

var<workgroup> winners: array<u32, WORKGROUP_SIZE>;
var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

// The class whose logit is larger, the first one of equals; a NaN is larger than any number.
fn better(first_logit: u32, a: u32, b: u32) -> u32 {
    let logit_a = logits[first_logit + a];
    let logit_b = logits[first_logit + b];
    let b_wins = exceeds(logit_b, logit_a) || (b < a && !exceeds(logit_a, logit_b));
    return select(a, b, b_wins);
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

    // An invocation without a class of its own takes the last one's: that one cannot win twice.
    var winner = min(invocation, CLASSES - 1u);
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        winner = better(first_logit, winner, c);
    }
    winners[invocation] = winner;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            winners[invocation] = better(first_logit, winners[invocation], winners[invocation + width]);
        }
        workgroupBarrier();
    }
    winner = winners[0];
    let largest = logits[first_logit + winner];

    var sum = 0.0;
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        sum += exp(logits[first_logit + c] - largest);
    }
    sums[invocation] = sum;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            sums[invocation] += sums[invocation + width];
        }
        workgroupBarrier();
    }
    let total = sums[0];

    let target_class = targets[n];
    let labelled = target_class < CLASSES;
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        var grad = 0.0;
        if (labelled) {
            let one_hot = select(0.0, 1.0, c == target_class);
            grad = (exp(logits[first_logit + c] - largest) / total - one_hot) / f32(BATCH_SIZE);
        }
        grad_logits[first_logit + c] = grad;
    }
    if (invocation == 0u) {
        var loss = 0.0;
        if (labelled) {
            loss = log(total) - (logits[first_logit + target_class] - largest);
            // A compiler may take for granted that no infinity or NaN reaches exp and log.
            if (!is_finite(largest)) {
                loss = bitcast<f32>(BITS_OF_NAN | n);
            }
        }
        row_loss[n] = loss;
        row_correct[n] = select(0.0, 1.0, winner == target_class && !is_nan(largest));
    }
}
