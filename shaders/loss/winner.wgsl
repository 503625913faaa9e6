// The class with a row's largest logit, found as a tree over strided parts; appended to kernels that bind logits.
// winner(n) = the first c whose logits[n,c] is the largest, a NaN being larger than any number.
// An invocation owns every 64th class of a row; a workgroup owns the row.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

var<workgroup> winners: array<u32, WORKGROUP_SIZE>;

// The class with the larger logit, or the lower class if they are equal.
fn better(first_logit: u32, a: u32, b: u32) -> u32 {
    let logit_a = logits[first_logit + a];
    let logit_b = logits[first_logit + b];
    let b_wins = exceeds(logit_b, logit_a) || (b < a && !exceeds(logit_a, logit_b));
    return select(a, b, b_wins);
}

fn winner_of_row(first_logit: u32, invocation: u32) -> u32 {
    // An invocation without a class of its own takes the last class, which does no harm.
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
    return winners[0];
}
