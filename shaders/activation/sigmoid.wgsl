// sigmoid: activate(x) = 1/(1 + exp(-x)).
// derivative(y) = y*(1 - y), from the output y.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl, with activation/logistic.wgsl.
// Defined in src/ops/activation/mod.rs.

fn activate(x: f32) -> f32 {
    return logistic(x);
}

fn derivative(y: f32) -> f32 {
    return y * (1.0 - y);
}
