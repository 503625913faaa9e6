// What becomes of an output value before it is stored: nothing.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish.

fn finish(k: u32, value: f32) -> f32 {
    return value;
}
