// `finish` for four neighbouring channels, of which those past the `last` are taken for it.
// Appended to kernels that compare or sum finished results, by those who launch them.

fn finished_four(channel: u32, last: u32, values: vec4<f32>) -> vec4<f32> {
    return vec4(
        finish(min(channel, last), values.x),
        finish(min(channel + 1u, last), values.y),
        finish(min(channel + 2u, last), values.z),
        finish(min(channel + 3u, last), values.w),
    );
}
