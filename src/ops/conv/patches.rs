//! The CPU's view of a convolution as a matrix product: the patch of input values under each window, laid
//! out as a row `[R,S,C/groups]` (im2col), a strip of windows at a time.

use super::ConvGeometry;
use crate::cpu::with_scratch;

/// Elements of a strip of patches: 256 KiB, so that it stays in a core's cache.
const STRIP_ELEMENTS: usize = 64 << 10;

/// Windows in a strip.
pub fn strip_rows(geometry: &ConvGeometry) -> usize {
    (STRIP_ELEMENTS / geometry.taps()).max(16)
}

/// Calls `work` with the patches of `rows` windows from number `first` on, for one group: `[rows,R,S,C/groups]`.
pub fn with_patches(
    geometry: &ConvGeometry,
    input: &[f32],
    first: usize,
    rows: usize,
    group: usize,
    work: impl FnOnce(&[f32]),
) {
    let (group_in, in_channels) = (geometry.group_in_channels(), geometry.in_channels);
    let (in_height, in_width) = (geometry.height.input, geometry.width.input);
    with_scratch(rows * geometry.taps(), |patches| {
        let mut pixels = patches.chunks_exact_mut(group_in);
        for window in first..first + rows {
            let (p, q) =
                (window / geometry.width.output % geometry.height.output, window % geometry.width.output);
            let image = window / geometry.positions();
            for r in 0..geometry.height.kernel {
                let h = geometry.height.input_at(p, r);
                for s in 0..geometry.width.kernel {
                    let pixel = pixels.next().expect("a pixel for every tap of every window");
                    match (h, geometry.width.input_at(q, s)) {
                        (Some(h), Some(w)) => {
                            let index =
                                ((image * in_height + h) * in_width + w) * in_channels + group * group_in;
                            pixel.copy_from_slice(&input[index..index + group_in]);
                        }
                        _ => pixel.fill(0.0),
                    }
                }
            }
        }
        work(patches);
    });
}

/// Adds the patches of the windows from number `first` on to the image that they were taken from (col2im).
/// `first` counts within the image.
pub fn add_patches(geometry: &ConvGeometry, patches: &[f32], first: usize, group: usize, image: &mut [f32]) {
    let (group_in, in_channels) = (geometry.group_in_channels(), geometry.in_channels);
    for (row, patch) in patches.chunks_exact(geometry.taps()).enumerate() {
        let (p, q) = ((first + row) / geometry.width.output, (first + row) % geometry.width.output);
        let mut pixels = patch.chunks_exact(group_in);
        for r in 0..geometry.height.kernel {
            let h = geometry.height.input_at(p, r);
            for s in 0..geometry.width.kernel {
                let pixel = pixels.next().expect("a pixel for every tap");
                if let (Some(h), Some(w)) = (h, geometry.width.input_at(q, s)) {
                    let index = (h * geometry.width.input + w) * in_channels + group * group_in;
                    for (sum, value) in image[index..index + group_in].iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            }
        }
    }
}
