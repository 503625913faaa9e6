//! A pass as one matrix product, of patches that never lie in memory.

use crate::device::DeviceProfile;
use crate::ops::conv::ConvGeometry;
use crate::ops::cost::{LAUNCH, travel};
use crate::ops::gemm::{Product, TiledKernel};
use crate::ops::kernel::Implementation;

/// Ways to do the pass that `product` computes with `kernel`; none where tiles do not pay.
///
/// They take as long as their multiply-adds, or as the tensors take to travel where that is longer.
pub fn products(
    geometry: &ConvGeometry,
    product: &Product,
    kernel: &TiledKernel,
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let tensors = [geometry.input_shape(), geometry.filters_shape(), geometry.output_shape()];
    let travel = travel(tensors.iter().map(|shape| shape.elements()).sum(), device);
    let mut ways = product.implementations(device, kernel);
    for way in &mut ways {
        way.cost.time = way.cost.time.max(travel) + LAUNCH;
    }
    ways
}
