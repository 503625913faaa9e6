// The values of a as a matrix product uses them: as they are in memory.
// Appended to gemm/tiled.wgsl and gemm/subgroup.wgsl by src/ops/prologue/mod.rs.

fn a_factor(index: u32) -> APacket {
    return APacket();
}

fn a_finished(values: vec4<f32>, factors: vec4<f32>) -> vec4<f32> {
    return values;
}
