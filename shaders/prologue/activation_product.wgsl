// Values of a as a matrix product multiplies them: the output's gradient times an activation's derivative.
// Both are read before they are needed, and multiplied when they are: what is computed at once is waited for at once.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/prologue/mod.rs, with the file that says derivative and the
// const line ACTIVATED_BINDING.

@group(0) @binding(ACTIVATED_BINDING) var<storage, read> activated: array<APacket>;

fn a_factor(index: u32) -> APacket {
    return activated[index];
}

fn a_finished(values: vec4<f32>, factors: vec4<f32>) -> vec4<f32> {
    return values * vec4(derivative(factors.x), derivative(factors.y), derivative(factors.z), derivative(factors.w));
}
