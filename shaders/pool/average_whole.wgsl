// average_pool2d.forward of windows as large as the image: the terms of a sum for each image; the appended file sums them.
// output[n,0,0,c] = sum over h,w of input[n,h,w,c] / taps.
// Defined in src/ops/pool/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

override TAPS: u32;

fn term(index: u32) -> f32 {
    return input[index];
}

fn store(index: u32, sum: f32) {
    output[index] = sum / f32(TAPS);
}
