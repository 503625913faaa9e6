// A kernel that writes the loss, but does not end the training step.
// Defined in src/ops/batch/advance.rs.

fn count_step() {}
