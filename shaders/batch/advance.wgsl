// advance: counts a training step.
// step += 1 if loss[step] is finite.
// The first invocation of the one workgroup owns the counter.
// Defined in src/ops/batch/advance.rs.

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read_write> step: array<u32>;

override STEPS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    let now = step[0];
    if (invocation != 0u || now >= STEPS) {
        return;
    }
    if (is_finite(loss[now])) {
        step[0] = now + 1u;
    }
}
