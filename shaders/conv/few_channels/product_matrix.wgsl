// Four channels of a group times a matrix of weights: their contribution to four channels on the other side.
// Appended to the forward pass and to the gradient of the input by src/ops/conv/gpu/few_channels/grouped.rs.

alias Weights = mat4x4<f32>;

fn weights_at(place: u32) -> Weights {
    return mat4x4(staged[place], staged[place + PITCH], staged[place + 2u * PITCH], staged[place + 3u * PITCH]);
}

fn multiply_add(weights: Weights, value: Packet, sum: Packet) -> Packet {
    let first = fma(weights[1], vec4(value.y), fma(weights[0], vec4(value.x), sum));
    return fma(weights[3], vec4(value.w), fma(weights[2], vec4(value.z), first));
}
