// The last step before an output value is stored: a bias, a normalisation and an activation, those that there are.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish, with files that define with_bias, normalised and activate.

fn finish(k: u32, value: f32) -> f32 {
    return activate(normalised(k, with_bias(k, value)));
}
