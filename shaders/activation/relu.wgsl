// relu: activate(x) = 0 where x <= 0, else x.
// derivative(y) = 0 where the output y <= 0, else 1.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl.
// Defined in src/ops/activation/mod.rs.

// Not max(x, 0), which may turn NaN into 0.
fn activate(x: f32) -> f32 {
    return select(x, 0.0, x <= 0.0);
}

fn derivative(y: f32) -> f32 {
    return select(1.0, 0.0, y <= 0.0);
}
