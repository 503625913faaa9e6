//! The CPU's view of a convolution as a matrix product: the patch of input values under each window, laid
//! out as a row `[R,S,C/groups]` (im2col), a strip of windows at a time.

use crate::ops::conv::ConvGeometry;

/// Number of elements of a strip of patches: 256 KiB, which fit in a core's cache.
const STRIP_ELEMENTS: usize = 64 << 10;

/// Number of windows in a strip.
pub fn strip_rows(geometry: &ConvGeometry) -> usize {
    (STRIP_ELEMENTS / geometry.taps()).max(16)
}

/// Adds the patches of the windows from number `first` on to the positions in the image from which they were taken
/// (col2im). `first` counts within the image.
pub fn add_patches(geometry: &ConvGeometry, patches: &[f32], first: usize, group: usize, image: &mut [f32]) {
    for (row, patch) in patches.chunks_exact(geometry.taps()).enumerate() {
        for_each_run(geometry, first + row, group, |in_patch, in_image, length| {
            let sums = &mut image[in_image..in_image + length];
            for (sum, value) in sums.iter_mut().zip(&patch[in_patch..in_patch + length]) {
                *sum += value;
            }
        });
    }
}

/// Calls `visit(index in the patch, index in the image, length)` for each run of values that are contiguous both in a
/// window's patch and in its image; padding is left out.
fn for_each_run(
    geometry: &ConvGeometry,
    window: usize,
    group: usize,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let ConvGeometry { height, width, in_channels, .. } = geometry;
    let group_in = geometry.group_in_channels();
    let (p, q) = (window / width.output, window % width.output);
    let columns = width.taps_inside(q);
    if columns.is_empty() {
        return;
    }
    // Taps that are neighbours in the image and read all of its channels make one run.
    let (runs, taps_in_run) =
        if width.dilation == 1 && geometry.groups == 1 { (1, columns.len()) } else { (columns.len(), 1) };
    for r in height.taps_inside(p) {
        let h = p * height.stride + r * height.dilation - height.padding_before;
        for run in 0..runs {
            let s = columns.start + run;
            let w = q * width.stride + s * width.dilation - width.padding_before;
            let in_patch = (r * width.kernel + s) * group_in;
            let in_image = (h * width.input + w) * in_channels + group * group_in;
            visit(in_patch, in_image, taps_in_run * group_in);
        }
    }
}
