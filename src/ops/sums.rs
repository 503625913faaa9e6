//! Sums of each channel over rows: over all rows of a tensor, or over those of each of its segments, such as the pixels
//! of each image.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{Binding, Constant, Implementation, KernelCall, Source, best_first, shader};
use super::parts::Loops;
use super::rows::{INVOCATIONS, RowSlices, chunk_rows};
use crate::cpu::{add_in_order, with_scratch};
use crate::device::DeviceProfile;

/// A tensor `[segments * rows, K]`, each segment of which is summed over its rows to a row of `[segments, K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSums {
    /// Number of segments.
    pub segments: usize,
    /// Number of rows of a segment.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

/// What a sum's kernels are made of.
pub struct SumKernel {
    /// Declares the bindings, the term at an index of the tensor, `fn term(index: u32) -> f32`, and access to the
    /// results: `fn partial(index: u32) -> f32` and `fn store(index: u32, sum: f32)`.
    pub source: Source,
    /// Its overrides.
    pub constants: Vec<(&'static str, Constant)>,
    /// The operands that it binds, in order.
    pub operands: usize,
    /// The number of the result among them.
    pub result: usize,
}

/// Number of workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 256;

/// With fewer rows in each segment, one invocation sums them as fast.
const FEWEST_ROWS: usize = 32;

impl SegmentSums {
    /// Indices of the terms of a result, by its index, as its definition sums them.
    pub fn terms(&self, result: usize) -> impl Iterator<Item = usize> + use<> {
        let SegmentSums { rows, channels, .. } = *self;
        let (segment, k) = (result / channels, result % channels);
        (0..rows).map(move |row| (segment * rows + row) * channels + k)
    }

    /// The ways to sum on a GPU, best guess first. `complete` finishes a call, as kernels with a prologue need it.
    pub fn implementations(
        &self,
        kernel: SumKernel,
        complete: impl Fn(&mut KernelCall),
        device: &DeviceProfile,
    ) -> Vec<Implementation> {
        let SegmentSums { segments, rows, channels } = *self;
        let SumKernel { source, constants, operands, result } = kernel;
        let with = |more: Source| {
            let mut source = source.clone();
            source.files.extend(more.files);
            source
        };
        let direct = with(shader!("sums/direct.wgsl", "part.wgsl", "grid.wgsl"));
        let sizes = [("SEGMENTS", segments), ("SEGMENT_ROWS", rows), ("CHANNELS", channels)];
        let sizes = sizes.map(|(name, size)| (name, size.into()));
        let mut direct =
            KernelCall::elementwise(direct, [&constants[..], &sizes].concat(), operands, segments * channels);
        complete(&mut direct);
        let direct = Loops::over(rows).direct(&direct, device);
        let sliced = with(shader!("sums/sliced.wgsl", "grid.wgsl"));
        let sliced = match segments {
            1 => RowSlices::new(rows, channels, ENOUGH_WORKGROUPS, device).map(|slices| {
                let mut call = self.sliced(sliced, constants, operands, slices);
                complete(&mut call);
                Implementation::of("sliced", call).in_slices(result, channels, slices.slices, device)
            }),
            _ => self.by_segment(sliced, constants, operands, device).map(|mut call| {
                complete(&mut call);
                Implementation::of("sliced", call)
            }),
        };
        best_first(sliced.map(Implementation::tailored).into_iter().chain([direct]).collect())
    }

    /// The launch of a kernel like `shaders/sums/sliced.wgsl`, in which workgroups share the rows of each segment; `None`
    /// if that does not pay off, or if the device's workgroups are too small.
    pub fn by_segment(
        &self,
        source: Source,
        constants: Vec<(&'static str, Constant)>,
        operands: usize,
        device: &DeviceProfile,
    ) -> Option<KernelCall> {
        let SegmentSums { segments, rows, channels } = *self;
        let width = channels.min(INVOCATIONS);
        let lanes = INVOCATIONS / width;
        // An invocation loops over its rows, and those of the first lane also over the results of all lanes.
        let fits = INVOCATIONS <= device.max_workgroup_invocations as usize
            && rows.div_ceil(lanes) + lanes <= device.loop_trips();
        let slices = RowSlices { width, blocks: channels.div_ceil(width), slices: segments };
        (fits && rows >= FEWEST_ROWS).then(|| self.sliced(source, constants, operands, slices))
    }

    /// The launch of a kernel like `shaders/sums/sliced.wgsl`.
    fn sliced(
        &self,
        source: Source,
        mut constants: Vec<(&'static str, Constant)>,
        operands: usize,
        RowSlices { width, blocks, slices }: RowSlices,
    ) -> KernelCall {
        let rows = self.segments * self.rows;
        let sizes = [
            ("ROWS", rows),
            ("CHANNELS", self.channels),
            ("SLICES", slices),
            ("SLICE_ROWS", rows.div_ceil(slices)),
            ("WIDTH", width),
        ];
        constants.extend(sizes.map(|(name, size)| (name, size.into())));
        let source = source.with_sizes(&[("INVOCATIONS", INVOCATIONS as u32)]);
        KernelCall::new(source, constants, Binding::operands(operands), blocks * slices)
    }

    /// Sums on all cores: `add(sums, elements)` adds the terms of these elements, which are whole rows, to the sums of
    /// their channels. The order depends on the sizes alone.
    pub fn run_on_cpu(&self, results: &mut [f32], add: impl Fn(&mut [f32], Range<usize>) + Sync) {
        let SegmentSums { segments, rows, channels } = *self;
        if segments > 1 {
            results.par_chunks_mut(channels).enumerate().for_each(|(segment, sums)| {
                sums.fill(0.0);
                let elements = rows * channels;
                add(sums, segment * elements..(segment + 1) * elements);
            });
            return;
        }
        let chunk = chunk_rows(channels);
        with_scratch(rows.div_ceil(chunk) * channels, |sums| {
            sums.par_chunks_mut(channels).enumerate().for_each(|(number, sums)| {
                sums.fill(0.0);
                let first = number * chunk;
                add(sums, first * channels..rows.min(first + chunk) * channels);
            });
            add_in_order(results, sums);
        });
    }
}
