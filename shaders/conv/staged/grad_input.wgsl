// conv2d.grad_input at stride 1, staged: the source is grad_output under windows turned by 180 degrees; appended to
// conv/staged/correlation.wgsl.
// Defined in src/ops/conv/grad_input.rs.

@group(0) @binding(0) var<storage, read> filters: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> grad_output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<vec4<f32>>;

// The packets of prologue/plain_packet.wgsl.
alias APacket = vec4<f32>;

override SOURCE_HEIGHT: u32 = OUT_HEIGHT;
override SOURCE_WIDTH: u32 = OUT_WIDTH;
override SOURCE_CHANNELS: u32 = OUT_CHANNELS;
override RESULT_HEIGHT: u32 = IN_HEIGHT;
override RESULT_WIDTH: u32 = IN_WIDTH;
override RESULT_CHANNELS: u32 = IN_CHANNELS;
// May wrap, where there is more padding than a window reaches over.
override LEAD_ROWS: u32 = TAP_ROWS - 1u - PADDING_TOP;
override LEAD_COLUMNS: u32 = TAP_COLUMNS - 1u - PADDING_LEFT;

fn source_four(index: u32) -> vec4<f32> {
    return grad_output_packet(index);
}

// The weights of a filter in four input channels.
fn weights_of_four(tap: u32, k: u32, quad: u32) -> vec4<f32> {
    return filters[(k * TAPS + TAPS - 1u - tap) * RESULT_QUADS + quad];
}

fn store_four(index: u32, quad: u32, values: vec4<f32>) {
    grad_input[index] = values;
}
