// The gradient of a normalised value is not kept.
// Appended by src/ops/norm/grad.rs.

fn keep(index: u32, gradient: f32) {}
