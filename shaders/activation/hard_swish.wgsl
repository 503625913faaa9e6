// hard_swish: activate(x) = 0 where x <= -3, x where x >= 3, else x*(x + 3)/6.
// derivative(x) = 0 where the input x <= -3, 1 where x >= 3, else x/3 + 1/2.
// Appended to activation/forward.wgsl and activation/grad_from_input.wgsl.
// Defined in src/ops/activation/mod.rs.

fn activate(x: f32) -> f32 {
    return select(select(x * (x + 3.0) / 6.0, x, x >= 3.0), 0.0, x <= -3.0);
}

fn derivative(x: f32) -> f32 {
    return select(select(x / 3.0 + 0.5, 1.0, x >= 3.0), 0.0, x <= -3.0);
}
