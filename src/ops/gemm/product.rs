//! A matrix product, and the parts of its kernels that an operation supplies.

use super::slices::unfinished_sum_slices;
use super::{matrix_units, subgroup, tiled};
use crate::device::DeviceProfile;
use crate::ops::cost::CostClass;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source, TileMoments, shader};
use crate::ops::pool::{Store, store_best};
use crate::ops::prologue::Prologue;

/// A product `result[m,n] = sum over k of a(m,k) * b(k,n)`, computed `parts` times on different data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Number of rows of the result.
    pub m: usize,
    /// Number of columns of the result.
    pub n: usize,
    /// Number of terms of each sum.
    pub k: usize,
    /// Number of independent products.
    pub parts: usize,
}

/// The part of `gemm/tiled.wgsl` and `gemm/subgroup.wgsl` that an operation supplies.
#[derive(Clone, Debug, PartialEq)]
pub struct TiledKernel {
    /// Defines where the values are: `a_line`, `a_step`, `a_present`, `a_packet`, likewise `b`, and `store`.
    pub source: Source,
    /// The overrides that the source declares.
    pub constants: Vec<(&'static str, Constant)>,
    /// Number of operands, which are bound in order.
    pub operands: usize,
    /// Numbers of the operands that hold the values of a and of b.
    pub factors: [usize; 2],
    /// Number of the operand that is the result.
    pub result: usize,
    /// Number of elements of the result.
    pub elements: usize,
    /// Which values can be read and written four at a time.
    pub quads: Quads,
    /// The function applied to values of a before they are used; its operand comes after `operands`.
    pub prologue: Prologue,
    /// The number of the operand `[parts,m]` to which the sums of the lines of a over k are written, if they are wanted.
    pub line_sums: Option<usize>,
    /// Whether implementations are also wanted that leave the moments of the columns of the finished results.
    pub column_moments: bool,
    /// The number of the operand to which the winners are written, if each four rows are a window, of which only the largest
    /// finished results are wanted.
    pub winners: Option<usize>,
    /// The function applied to results before they are stored, for a source that passes them through `finish_packet`;
    /// its operand comes after `operands`.
    pub epilogue: Option<Epilogue>,
    /// How results are stored, for a source that passes them to `store_result`.
    pub store: Option<Store>,
}

/// Whether values can be loaded and stored in 16-byte packets: along the contiguous axis, sizes and offsets are
/// multiples of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quads {
    /// Those of a.
    pub a: bool,
    /// Those of b.
    pub b: bool,
    /// Those of the result, whose contiguous axis is n.
    pub result: bool,
}

impl Product {
    /// Implementations of this product with `kernel`, best guess first; empty if tiles do not pay off. Their expected times
    /// are those of the multiply-adds alone.
    ///
    /// The kernel writes `[SLICES, result]`: if sums over k are long and workgroups few, k is split into slices that
    /// are summed separately, and a second pass adds the slices in a fixed order.
    ///
    /// Not all of them sum the lines of a where that is wanted: the others do not bind that operand. Nor do all of them leave
    /// the moments of columns. Those that reduce windows have results of whole sums, in tiles.
    pub fn implementations(&self, device: &DeviceProfile, kernel: &TiledKernel) -> Vec<Implementation> {
        let subgroup = subgroup::implementation(self, device, kernel);
        let mut ways: Vec<Implementation> =
            subgroup.into_iter().chain(tiled::implementations(self, device, kernel)).collect();
        if let Some(best) = ways.first_mut() {
            best.cost.class = CostClass::BestOfKind;
            ways.extend(matrix_units::implementations(self, device, kernel));
        }
        ways
    }

    /// The implementation of this name: `kernel` with the program `main`, which computes the product in blocks of m, n
    /// and k. With several slices, there are no results yet whose moments it could leave.
    pub(super) fn implementation(
        &self,
        name: &'static str,
        kernel: &TiledKernel,
        main: Source,
        block: [usize; 3],
        slices: usize,
        device: &DeviceProfile,
    ) -> Implementation {
        let operands = kernel.operands;
        let mut call = self.call(kernel, main, block, slices);
        kernel.prologue.complete_product(&mut call, operands);
        let (line_sums, none) = (shader!("gemm/line_sums.wgsl"), shader!("gemm/no_line_sums.wgsl"));
        call.complete(kernel.line_sums, "LINE_SUMS_BINDING", line_sums, none);
        let moments = self.complete_moments(&mut call, kernel, block[0]);
        complete_windows(&mut call, kernel);
        if let Some(store) = kernel.store {
            // What a slice sums is no result yet.
            let store = if slices > 1 { Store::AsItIs } else { store };
            store.complete(&mut call, kernel.result as u32, kernel.quads.result);
        }
        let Some(epilogue) = kernel.epilogue else {
            let implementation = Implementation::of(name, call);
            if let (Some(store @ Store::Unpooled { .. }), true) = (kernel.store, slices > 1) {
                let mut sum = unfinished_sum_slices(kernel.elements, slices, 1, store);
                sum.source.files.extend(shader!("gemm/finished_sum.wgsl").files);
                return implementation.added_by(sum, kernel.result, slices * kernel.elements);
            }
            let in_slices = implementation.in_slices(kernel.result, kernel.elements, slices, device);
            return match kernel.line_sums {
                Some(operand) => in_slices.in_slices(operand, self.m * self.parts, slices, device),
                None => in_slices,
            };
        };
        call.source.files.extend(match kernel.quads.result {
            true => shader!("epilogue/quads.wgsl").files,
            false => shader!("epilogue/scalars.wgsl").files,
        });
        if slices == 1 {
            epilogue.complete(&mut call, operands);
            let workspace = moments.map(|moments| 2 * self.m.div_ceil(moments.rows) * self.n * self.parts);
            let way = Implementation::of_calls(name, vec![call], workspace.into_iter().collect());
            return Implementation { moments, ..way };
        }
        assert!(moments.is_none() && kernel.winners.is_none(), "results of a part of a sum");
        // What a slice sums is no result yet.
        Epilogue::NONE.complete(&mut call, operands);
        let mut sum = unfinished_sum_slices(kernel.elements, slices, self.n * self.parts, Store::AsItIs);
        epilogue.complete(&mut sum, operands);
        Implementation::of(name, call).added_by(sum, kernel.result, slices * kernel.elements)
    }

    /// Adds what a call needs that leaves the moments of columns over tiles of so many rows, or leaves none.
    fn complete_moments(
        &self,
        call: &mut KernelCall,
        kernel: &TiledKernel,
        rows: usize,
    ) -> Option<TileMoments> {
        if !kernel.column_moments {
            call.source.files.extend(shader!("gemm/no_column_moments.wgsl").files);
            return None;
        }
        call.source.files.extend(shader!("gemm/column_moments.wgsl", "epilogue/four.wgsl").files);
        call.bind("MOMENTS_BINDING", Binding::Workspace(0));
        Some(TileMoments { scratch: 0, rows })
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
        source.enables.extend(&main.enables);
        source.parts.extend(&main.parts);
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

/// Adds what a call needs that stores the largest results of windows of four rows, or each row.
fn complete_windows(call: &mut KernelCall, kernel: &TiledKernel) {
    let Some(winners) = kernel.winners else {
        call.source.files.extend(shader!("gemm/no_windows.wgsl").files);
        return;
    };
    call.source.files.extend(shader!("gemm/windows.wgsl", "epilogue/four.wgsl").files);
    store_best(call, winners, kernel.quads.result);
}
