// conv2d.forward, staged: the source is the input; appended to conv/staged/correlation.wgsl.
// Defined in src/ops/conv/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> filters: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

override SOURCE_HEIGHT: u32 = IN_HEIGHT;
override SOURCE_WIDTH: u32 = IN_WIDTH;
override SOURCE_CHANNELS: u32 = IN_CHANNELS;
override RESULT_HEIGHT: u32 = OUT_HEIGHT;
override RESULT_WIDTH: u32 = OUT_WIDTH;
override RESULT_CHANNELS: u32 = OUT_CHANNELS;
override LEAD_ROWS: u32 = PADDING_TOP;
override LEAD_COLUMNS: u32 = PADDING_LEFT;

fn source_four(index: u32) -> vec4<f32> {
    return input[index];
}

// The weights of an input channel in four filters.
fn weights_of_four(tap: u32, c: u32, quad: u32) -> vec4<f32> {
    let first = filters_index(4u * quad, tap / TAP_COLUMNS, tap % TAP_COLUMNS, c);
    let filter_size = TAPS * IN_CHANNELS;
    return vec4(
        filters[first],
        filters[first + filter_size],
        filters[first + 2u * filter_size],
        filters[first + 3u * filter_size],
    );
}

fn store_four(index: u32, quad: u32, values: vec4<f32>) {
    output[index] = finish_packet(4u * quad, values);
}
