// leaky_relu: activate(x) = SLOPE*x where x <= 0, else x.
// derivative(y) = SLOPE where the output y <= 0, else 1.
// Appended to activation/forward.wgsl and activation/grad_from_output.wgsl.
// Defined in src/ops/activation/mod.rs.

override SLOPE: f32;

fn activate(x: f32) -> f32 {
    return select(x, SLOPE * x, x <= 0.0);
}

fn derivative(y: f32) -> f32 {
    return select(1.0, SLOPE, y <= 0.0);
}
