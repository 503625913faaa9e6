//! A matrix product, and what an operation brings to the kernels that do it.

use super::slices::{in_slices, two_passes, unfinished_sum_slices};
use super::{subgroup, tiled};
use crate::device::DeviceProfile;
use crate::ops::cost::CostClass;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source, shader};
use crate::ops::prologue::Prologue;

/// A product `result[m,n] = sum over k of a(m,k) * b(k,n)`, done `parts` times over different data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Independent products side by side.
    pub parts: usize,
}

/// What an operation brings to `gemm/tiled.wgsl`.
#[derive(Clone, Debug, PartialEq)]
pub struct TiledKernel {
    /// Where the values lie: `a_line`, `a_step`, `a_present`, `a_packet`, likewise `b`, and `store`.
    pub source: Source,
    /// The overrides that the source declares.
    pub constants: Vec<(&'static str, Constant)>,
    /// Operands, bound in order.
    pub operands: usize,
    /// Number of the operand that is the result.
    pub result: usize,
    /// Its elements.
    pub elements: usize,
    /// What can be read and written four values at a time.
    pub quads: Quads,
    /// What values of a are multiplied by before they are used; its operand comes after `operands`.
    pub prologue: Prologue,
    /// What happens to results before they are stored, for a source that passes them through
    /// `finish_packet`; its operand comes after `operands`.
    pub epilogue: Option<Epilogue>,
}

/// Whether values lie in memory in fours, at offsets that are multiples of four, along the axis that is
/// contiguous: 16-byte loads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quads {
    /// Of a.
    pub a: bool,
    /// Of b.
    pub b: bool,
    /// Of the result, whose contiguous axis is n.
    pub result: bool,
}

impl Product {
    /// Ways to compute this product with `kernel`, best guess first; none where tiles do not pay. Expected times are those
    /// of the multiply-adds alone.
    ///
    /// The kernel writes `[SLICES, result]`: where sums over k are long and workgroups few, k is cut into slices,
    /// each summed on its own, and a second pass adds the slices in a fixed order.
    pub fn implementations(&self, device: &DeviceProfile, kernel: &TiledKernel) -> Vec<Implementation> {
        let subgroup = subgroup::implementation(self, device, kernel);
        let mut ways: Vec<Implementation> =
            subgroup.into_iter().chain(tiled::implementations(self, device, kernel)).collect();
        if let Some(best) = ways.first_mut() {
            best.cost.class = CostClass::BestOfKind;
        }
        ways
    }

    /// The implementation of this name: `kernel` with the program `main`, which does the product in blocks of
    /// m, n and k.
    pub(super) fn implementation(
        &self,
        name: &'static str,
        kernel: &TiledKernel,
        main: Source,
        block: [usize; 3],
        slices: usize,
    ) -> Implementation {
        let operands = kernel.operands;
        let mut call = self.call(kernel, main, block, slices);
        kernel.prologue.complete_product(&mut call, operands);
        let Some(epilogue) = kernel.epilogue else {
            return in_slices(name, vec![call], kernel.result, kernel.elements, slices);
        };
        call.source.files.extend(match kernel.quads.result {
            true => shader!("epilogue/quads.wgsl").files,
            false => shader!("epilogue/scalars.wgsl").files,
        });
        if slices == 1 {
            epilogue.complete(&mut call, operands);
            return Implementation::of(name, call);
        }
        // What a slice sums is no result yet.
        Epilogue::NONE.complete(&mut call, operands);
        let mut sum = unfinished_sum_slices(kernel.elements, slices, self.n * self.parts);
        epilogue.complete(&mut sum, operands);
        two_passes(name, vec![call], sum, kernel.result, slices * kernel.elements)
    }

    fn call(&self, kernel: &TiledKernel, main: Source, block: [usize; 3], slices: usize) -> KernelCall {
        let [block_m, block_n, block_k] = block;
        let slice_k = self.k.div_ceil(slices).next_multiple_of(block_k);
        let results = match kernel.quads.result {
            true => shader!("gemm/result_quads.wgsl"),
            false => shader!("gemm/result_scalars.wgsl"),
        };
        let shared = shader!("gemm/product.wgsl", "grid.wgsl");
        let mut source = kernel.source.clone().with_sizes(&main.sizes);
        source.files.extend([main, results, shared].into_iter().flat_map(|source| source.files));
        let mut constants = kernel.constants.clone();
        constants.extend([
            ("GEMM_M", self.m.into()),
            ("GEMM_N", self.n.into()),
            ("GEMM_K", self.k.into()),
            ("PRODUCTS", self.parts.into()),
            ("SLICES", slices.into()),
            ("SLICE_K", slice_k.into()),
        ]);
        let blocks = self.m.div_ceil(block_m) * self.n.div_ceil(block_n);
        KernelCall::new(source, constants, Binding::operands(kernel.operands), blocks * self.parts * slices)
    }
}
