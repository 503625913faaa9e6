// The logistic function, which sigmoid and silu share: logistic(x) = 1/(1 + exp(-x)).
// Written as t/(1 + t) with t = exp(-|x|) below 0, and as 1/(1 + t) above.
// Appended to activation/sigmoid.wgsl and activation/silu.wgsl.
// Defined in src/ops/activation/mod.rs.

// The exponential of -|x| never overflows.
fn logistic(x: f32) -> f32 {
    let t = exp(-abs(x));
    return select(t, 1.0, x >= 0.0) / (1.0 + t);
}
