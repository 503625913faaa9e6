// softmax_cross_entropy, first pass: the loss, the correctness and the gradient of every row, with sums as trees over
// strided parts.
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

    let winner = winner_of_row(first_logit, invocation);
    let largest = logits[first_logit + winner];

    var sum = 0.0;
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        sum += exp(logits[first_logit + c] - largest);
    }
    let total = sum_over_workgroup(sum, invocation);

    let target_class = targets[n];
    let labelled = target_class < CLASSES;
    for (var c = invocation; c < CLASSES; c += WORKGROUP_SIZE) {
        var grad = 0.0;
        if (labelled) {
            let one_hot = select(0.0, 1.0, c == target_class);
            grad = mean(exp(logits[first_logit + c] - largest) / total - one_hot);
        }
        grad_logits[first_logit + c] = grad;
    }
    if (invocation == 0u) {
        var loss = 0.0;
        if (labelled) {
            loss = log(total) - (logits[first_logit + target_class] - largest);
            // Compilers may assume that no infinity or NaN reaches exp and log.
            if (!is_finite(largest)) {
                loss = bitcast<f32>(BITS_OF_NAN | n);
            }
        }
        row_loss[n] = loss;
        row_correct[n] = select(0.0, 1.0, winner == target_class && !is_nan(largest));
    }
}
