// No activation is applied to an output value.
// Appended by src/ops/epilogue/mod.rs to kernels that call activate.

fn activate(value: f32) -> f32 {
    return value;
}
