// advance: counts a training step.
// counter += 1 if loss[counter] is finite.
// The first invocation of the one workgroup owns the counter.
// Defined in src/ops/batch/advance.rs; an appended file defines count_step.

@group(0) @binding(0) var<storage, read> loss: array<f32>;

override STEPS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    if (invocation == 0u) {
        count_step();
    }
}
