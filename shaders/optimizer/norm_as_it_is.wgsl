// What follows from the norm of all gradients: the factor that clips them; a norm that is not finite is written to loss[step].
// Appended to optimizer/gradient_norm_total.wgsl by src/ops/optimizer/gradient_norm.rs.

fn conclude(norm: f32) {
    clip_scale[0] = clipping(norm);
    let now = step[0];
    if (now >= STEPS) {
        return;
    }
    if (!is_finite(norm) && is_finite(loss[now])) {
        loss[now] = norm;
    }
}
