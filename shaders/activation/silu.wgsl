// silu: activate(x) = x*logistic(x).
// derivative(x) = s + x*s*(1 - s) with s = logistic(x), from the input x.
// Appended to activation/forward.wgsl and activation/grad_from_input.wgsl, with activation/logistic.wgsl.
// Defined in src/ops/activation/mod.rs.

fn activate(x: f32) -> f32 {
    return x * logistic(x);
}

fn derivative(x: f32) -> f32 {
    let s = logistic(x);
    return s + x * s * (1.0 - s);
}
