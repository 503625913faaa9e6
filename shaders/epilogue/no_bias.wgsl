// No bias is added to an output value.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish.

fn with_bias(k: u32, value: f32) -> f32 {
    return value;
}
