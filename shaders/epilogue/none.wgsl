// The last step before an output value is stored: none.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish.

fn finish(k: u32, value: f32) -> f32 {
    return value;
}
