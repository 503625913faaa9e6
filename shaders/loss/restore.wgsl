// restore_loss: the loss of a step that was left out, since its gradients were not finite, is written back.
// loss[step] = loss_scale[2] and loss_scale[2] = -1, if loss[step] is not finite and loss_scale[2] is at least 0.
// The first invocation of the one workgroup owns the loss.
// Defined in src/ops/loss/scale.rs; an appended file defines count_step.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss_scale: array<f32>;

override STEPS: u32;

fn restore() {
    let now = step[0];
    if (now >= STEPS) {
        return;
    }
    let left_out = loss_scale[2];
    if (!is_finite(loss[now]) && left_out >= 0.0) {
        loss[now] = left_out;
        loss_scale[2] = -1.0;
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    if (invocation == 0u) {
        restore();
        count_step();
    }
}
