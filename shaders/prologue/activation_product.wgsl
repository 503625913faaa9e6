// The values of a as a matrix product uses them: the output's gradient times an activation's derivative.
// Both are read early, and multiplied only when they are needed: a product right after the loads would wait for them.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/prologue/mod.rs, with the file that defines derivative and the
// const line ACTIVATED_BINDING.

@group(0) @binding(ACTIVATED_BINDING) var<storage, read> activated: array<APacket>;

fn a_factor(index: u32) -> APacket {
    return activated[index];
}

fn a_finished(values: vec4<f32>, factors: vec4<f32>) -> vec4<f32> {
    return values * vec4(derivative(factors.x), derivative(factors.y), derivative(factors.z), derivative(factors.w));
}
