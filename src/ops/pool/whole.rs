//! The kernels of pools whose window is the whole image, in which a workgroup shares the pixels of an image.

use super::PoolGeometry;
use crate::device::DeviceProfile;
use crate::ops::kernel::{KernelCall, Source, shader};
use crate::ops::sums::SegmentSums;

/// The images as segments whose pixels are pooled, if the window is the whole image.
pub fn images(geometry: &PoolGeometry) -> Option<SegmentSums> {
    let PoolGeometry { batch_size, channels, height, width } = *geometry;
    let is_whole = [height, width].iter().all(|axis| {
        let has_no_padding = axis.padding_before == 0 && axis.padding_after == 0;
        has_no_padding && axis.output == 1 && axis.kernel == axis.input && axis.dilation == 1
    });
    is_whole.then_some(SegmentSums { segments: batch_size, rows: height.input * width.input, channels })
}

/// The launch of a kernel that calls `find_winners` of `shaders/pool/whole.wgsl` and binds this number of operands; `None`
/// if the window is not the whole image, or if that does not pay off.
pub fn maximum(
    geometry: &PoolGeometry,
    mut source: Source,
    operands: usize,
    device: &DeviceProfile,
) -> Option<KernelCall> {
    source.files.extend(shader!("pool/whole.wgsl", "float_bits.wgsl", "grid.wgsl").files);
    images(geometry)?.by_segment(source, Vec::new(), operands, device)
}
