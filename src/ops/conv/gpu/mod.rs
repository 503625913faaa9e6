//! The GPU kernels of convolutions beside the plain ones: for few channels, in strips, and by Winograd's convolution.

mod grouped;
mod partial_sums;
mod products;
mod stem;
mod strip;
mod winograd;
mod workgroups;

use crate::device::DeviceProfile;
use crate::ops::conv::ConvGeometry;
use crate::ops::epilogue::Epilogue;
use crate::ops::gemm::{Product, TiledKernel};
use crate::ops::kernel::{Implementation, best_first};
use crate::ops::prologue::Prologue;

/// The pass that is done, and what is done to its values on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FusedPass {
    /// Operands: input, filters, output, then the epilogue's.
    Forward(Epilogue),
    /// A forward pass of its own: grad_output takes the input's place, the filters are turned by 180 degrees and
    /// sum over k, and the padding is 2 less the convolution's. Operands: filters, grad_output, grad_input, then the
    /// prologue's.
    GradInput(Prologue),
    /// The forward pass transposed: products of patches and tiles of grad_output, summed over all tiles. Operands:
    /// input, grad_output, grad_filters, then the prologue's.
    GradFilters(Prologue),
}

/// All ways to do a pass, best guess first: by the kernels for few channels, as the `product` that `tiled` computes, by
/// Winograd's convolution, and `direct`, from the definition.
pub fn implementations(
    geometry: &ConvGeometry,
    pass: FusedPass,
    product: &Product,
    tiled: &TiledKernel,
    direct: Implementation,
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let few_channels = match &pass {
        FusedPass::Forward(epilogue) => {
            [grouped::forward(geometry, epilogue, device), stem::forward(geometry, epilogue, device)]
        }
        FusedPass::GradFilters(prologue) => [
            grouped::grad_filters(geometry, prologue, device),
            stem::grad_filters(geometry, prologue, device),
        ],
        FusedPass::GradInput(prologue) => {
            [grouped::grad_input(geometry, prologue, device), stem::grad_input(geometry, prologue, device)]
        }
    };
    let mut ways: Vec<Implementation> =
        few_channels.into_iter().flatten().map(Implementation::tailored).collect();
    ways.extend(products::products(geometry, product, tiled, device));
    ways.extend(winograd::implementations(geometry, pass, device));
    ways.push(direct);
    best_first(ways)
}
