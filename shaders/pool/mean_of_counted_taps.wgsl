// What the kernels of an average divide by where not all taps of every window count: each window's part of a sum.
// Taps count that lie at p*stride + r*dilation within the counted rows, which begin with those of the padding; likewise
// columns.
// Appended to pool/average_forward.wgsl and pool/average_grad.wgsl by src/ops/pool/mod.rs.

override FIRST_COUNTED_ROW: u32;
override END_COUNTED_ROW: u32;
override FIRST_COUNTED_COLUMN: u32;
override END_COUNTED_COLUMN: u32;

// Number of the first tap at `place` or behind it, of a window that starts at `start`.
fn tap_at(place: u32, start: u32, dilation: u32, kernel: u32) -> u32 {
    return min(kernel, (max(place, start) - start + dilation - 1u) / dilation);
}

fn taps(p: u32, q: u32) -> f32 {
    let top = p * STRIDE_HEIGHT;
    let left = q * STRIDE_WIDTH;
    let rows = tap_at(END_COUNTED_ROW, top, DILATION_HEIGHT, KERNEL_HEIGHT)
        - tap_at(FIRST_COUNTED_ROW, top, DILATION_HEIGHT, KERNEL_HEIGHT);
    let columns = tap_at(END_COUNTED_COLUMN, left, DILATION_WIDTH, KERNEL_WIDTH)
        - tap_at(FIRST_COUNTED_COLUMN, left, DILATION_WIDTH, KERNEL_WIDTH);
    return f32(rows * columns);
}

fn mean(sum: f32, p: u32, q: u32) -> f32 {
    return sum / taps(p, q);
}

fn share(grad: f32, p: u32, q: u32) -> f32 {
    return grad / taps(p, q);
}

fn total(sum: f32) -> f32 {
    return sum;
}
