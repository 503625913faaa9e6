// tanh: activate(x) = (1 - t)/(1 + t) with t = exp(-2*x) for x >= 0, and -activate(-x) below.
// derivative(y) = 1 - y*y, from the output y.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl.
// Defined in src/ops/activation/mod.rs.

// The built-in tanh may be off by 1e-5, and overflows on some drivers.
fn activate(x: f32) -> f32 {
    // Near 0 the difference would cancel; four terms of the series are exact to f32's precision there.
    let square = x * x;
    let series = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    let t = exp(-2.0 * abs(x));
    let far = (1.0 - t) / (1.0 + t);
    return select(select(far, -far, x < 0.0), series, abs(x) < 0.125);
}

fn derivative(y: f32) -> f32 {
    return 1.0 - y * y;
}
