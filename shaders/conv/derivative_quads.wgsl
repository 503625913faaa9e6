// `derivative` for the packets of gemm/a_quads.wgsl: four at a time.
// Appended by src/ops/prologue.rs with conv/grad_output_activation_packet.wgsl.

fn derivative_packet(values: vec4<f32>) -> vec4<f32> {
    return vec4(derivative(values.x), derivative(values.y), derivative(values.z), derivative(values.w));
}
