//! How a product is cut into tiles and slices, and what that is expected to cost.

use super::slices::slices;
use super::{Product, Quads};
use crate::device::DeviceProfile;
use crate::ops::cost::{LAUNCH, MULTIPLY_ADDS_PER_ELEMENT, multiprocessors};
use crate::ops::kernel::{Source, shader};

/// What a workgroup computes, step by step of k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of a step.
    pub k: usize,
    /// Invocations of the workgroup.
    pub invocations: usize,
    /// Expected share of the peak multiply-add rate, that of units for f32, if all multiprocessors and all of the block are
    /// busy.
    pub efficiency: f64,
}

/// A number of slices of k, and the expected time with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Number of slices.
    pub slices: usize,
    /// Expected time, in multiply-adds of one multiprocessor.
    pub cost: f64,
}

/// Number of invocations on a multiprocessor that hide each other's latency.
const ENOUGH_INVOCATIONS: f64 = 256.0;

/// Cost of a workgroup before its first step and after its last one, in steps.
const STEPS_AROUND: usize = 2;

/// Slices are used for up to this number of rounds of workgroups: with more, a partly empty last round wastes little.
const MOST_ROUNDS: usize = 8;

/// Shorter slices than this cost more in their second pass than they gain.
const SHORTEST_SLICE: usize = 128;

impl Product {
    fn workgroups(&self, block: &Block) -> usize {
        self.m.div_ceil(block.m) * self.n.div_ceil(block.n) * self.parts
    }

    /// Number of rounds in which all workgroups run, one on each multiprocessor.
    pub(super) fn rounds(&self, block: &Block, slices: usize, device: &DeviceProfile) -> usize {
        (self.workgroups(block) * slices).div_ceil(multiprocessors(device))
    }

    /// The expected cost in blocks with `slices`: workgroups run in rounds of one per multiprocessor, each with an overhead of
    /// a few steps, and a second pass writes and reads the slices.
    pub(super) fn cut(&self, block: &Block, slices: usize, device: &DeviceProfile) -> Cut {
        let multiprocessors = multiprocessors(device);
        let rounds = self.rounds(block, slices, device);
        let busy = f64::min(1.0, (rounds * block.invocations) as f64 / ENOUGH_INVOCATIONS);
        let steps = self.k.div_ceil(slices).div_ceil(block.k) + STEPS_AROUND;
        let products = (rounds * block.m * block.n * block.k * steps) as f64 / (block.efficiency * busy);
        let second_pass = match slices {
            1 => 0.0,
            _ => {
                let moved = self.m * self.n * self.parts * (2 * slices + 1);
                LAUNCH + moved as f64 * MULTIPLY_ADDS_PER_ELEMENT / multiprocessors as f64
            }
        };
        Cut { slices, cost: products + second_pass }
    }

    /// The number of slices that is expected to be best: if k is long enough and memory suffices, workgroups fill whole
    /// rounds, since an almost empty last round takes as long as a full one.
    pub(super) fn best_cut(&self, block: &Block, device: &DeviceProfile) -> Cut {
        let multiprocessors = multiprocessors(device);
        let elements = self.m * self.n * self.parts;
        let numbers = (0..=MOST_ROUNDS).map(|rounds| {
            let wanted = (rounds * multiprocessors / self.workgroups(block)).min(self.k / SHORTEST_SLICE);
            slices(wanted, self.k, elements, device)
        });
        let cuts = numbers.map(|slices| self.cut(block, slices, device));
        cuts.min_by(|a, b| a.cost.total_cmp(&b.cost)).expect("a number of slices")
    }
}

/// A kernel that computes a product in blocks, with the files that fetch values of a and b for it.
pub fn with_errands(mut main: Source, quads: Quads) -> Source {
    let fetching = [
        shader!("gemm/errands.wgsl"),
        if quads.a { shader!("gemm/a_quads.wgsl") } else { shader!("gemm/a_scalars.wgsl") },
        if quads.b { shader!("gemm/b_quads.wgsl") } else { shader!("gemm/b_scalars.wgsl") },
    ];
    main.files.extend(fetching.into_iter().flat_map(|source| source.files));
    main
}
