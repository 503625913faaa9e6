// What follows from the norm of gradients that a loss scale has multiplied: the factor that undoes it and clips them, and the
// next scale. If the norm is not finite, the scale is halved and the step is left out, with its loss kept; or training ends, if
// the scale is 1.
// Appended to optimizer/gradient_norm_total.wgsl by src/ops/optimizer/gradient_norm.rs.

@group(0) @binding(4) var<storage, read_write> loss_scale: array<f32>;

override GROWTH_STEPS: u32;
override LARGEST_SCALE: f32;

fn conclude(norm: f32) {
    let scale = max(1.0, loss_scale[0]);
    let is_good = is_finite(norm);
    clip_scale[0] = 0.0;
    if (is_good) {
        clip_scale[0] = clipping(norm / scale) / scale;
    }
    let now = step[0];
    if (now >= STEPS) {
        return;
    }
    if (!is_finite(loss[now])) {
        return;
    }
    if (is_good) {
        let steps = loss_scale[1] + 1.0;
        let grows = steps >= f32(GROWTH_STEPS);
        loss_scale[0] = select(scale, min(2.0 * scale, LARGEST_SCALE), grows);
        loss_scale[1] = select(steps, 0.0, grows);
        return;
    }
    if (scale > 1.0) {
        loss_scale[2] = loss[now];
    }
    loss_scale[0] = max(1.0, 0.5 * scale);
    loss_scale[1] = 0.0;
    loss[now] = norm;
}
