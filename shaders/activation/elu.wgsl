// elu: activate(x) = ALPHA*(exp(x) - 1) where x <= 0, else x.
// derivative(y) = y + ALPHA where the output y <= 0, else 1.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl.
// Defined in src/ops/activation/mod.rs.

override ALPHA: f32;

fn activate(x: f32) -> f32 {
    // Near 0 the difference would cancel; five terms of the series are exact to f32's precision there.
    let series = x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x / 120.0))));
    let below = ALPHA * select(exp(min(x, 0.0)) - 1.0, series, x > -0.125);
    return select(x, below, x <= 0.0);
}

fn derivative(y: f32) -> f32 {
    return select(1.0, y + ALPHA, y <= 0.0);
}
