// scale: activate(x) = FACTOR*x.
// derivative(y) = FACTOR, whatever the output y.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl.
// Defined in src/ops/activation/mod.rs.

override FACTOR: f32;

fn activate(x: f32) -> f32 {
    return FACTOR * x;
}

fn derivative(y: f32) -> f32 {
    return FACTOR;
}
