//! The GPU kernels of convolutions besides the direct ones: for few channels, with staged patches, as matrix products, and
//! with Winograd's convolution.

mod few_channels;
mod products;
mod staged;
mod winograd;

pub use few_channels::max_pooled;
pub use products::products;

use crate::device::DeviceProfile;
use crate::ops::conv::ConvGeometry;
use crate::ops::epilogue::Epilogue;
use crate::ops::gemm::{Product, TiledKernel};
use crate::ops::kernel::{Implementation, best_first};
use crate::ops::pool::Store;
use crate::ops::prologue::Prologue;

/// A pass of a convolution, with what is done to values as they are read or before they are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FusedPass {
    /// Operands: input, filters, output, then the epilogue's.
    Forward(Epilogue),
    /// Operands: filters, grad_output, grad_input, then the prologue's, then what the store reads. Some ways store results as
    /// they are and do not bind that.
    GradInput {
        /// What is done to grad_output.
        prologue: Prologue,
        /// How results are stored.
        store: Store,
    },
    /// Operands: input, grad_output, grad_filters, then the prologue's, then the bias's gradient, if it has a number. Not every
    /// way computes that.
    GradFilters {
        /// What is done to grad_output.
        prologue: Prologue,
        /// The number of the bias's gradient.
        bias: Option<usize>,
    },
}

/// All ways to do a pass, best guess first: by the kernels for few channels, with staged patches, as the `product` that
/// `tiled` computes, by Winograd's convolution, and `direct`, from the definition. If `tiled` is to leave the moments of
/// channels, some of the products and of Winograd's convolutions do.
pub fn implementations(
    geometry: &ConvGeometry,
    pass: FusedPass,
    product: &Product,
    tiled: &TiledKernel,
    direct: Implementation,
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let mut ways: Vec<Implementation> = few_channels::implementations(geometry, pass, device).collect();
    ways.extend(staged::implementations(geometry, pass, device));
    ways.extend(products(geometry, product, tiled, device));
    ways.extend(winograd::implementations(geometry, pass, tiled.column_moments, device));
    ways.push(direct);
    best_first(ways)
}
