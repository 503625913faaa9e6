// The last step before an output value is stored: an activation is applied.
// Appended by src/ops/epilogue/mod.rs to kernels that call finish, with the file that defines activate.

fn finish(k: u32, value: f32) -> f32 {
    return activate(value);
}
