// The end of a training step: a single invocation counts it, once it has written the loss.
// counter += 1 if loss[counter] is finite.
// Appended to kernels of one workgroup that bind loss, with COUNTER_BINDING as a const line.
// Defined in src/ops/batch/advance.rs.

@group(0) @binding(COUNTER_BINDING) var<storage, read_write> counter: array<u32>;

fn count_step() {
    let counted = counter[0];
    if (counted >= STEPS) {
        return;
    }
    if (is_finite(loss[counted])) {
        counter[0] = counted + 1u;
    }
}
