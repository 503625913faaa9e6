//! The filter gradient by Winograd's convolution: the transpose of its forward pass, tile by tile.

use pulp::Simd;
use rayon::prelude::*;

use super::filter_sums::FilterOperands;
use super::line::Line;
use super::source::Source;
use super::winograd::{FEWEST_CHANNELS, PARTS, TRANSFORM, TransformPatches};
use super::winograd_lines::{
    INPUTS, OUTPUTS, PixelPart, TileTransform, filter_grad_line, grad_line, transform_tiles,
};
use crate::cpu::{Positions, add_outer_products, spare, with_scratch};
use crate::ops::conv::ConvGeometry;
use crate::ops::conv::winograd::{SHORTEST_SUM, is_in_reach};
use crate::ops::window::Axis;

/// Number of elements of the patches and gradients that are transformed at a time: 8 MiB, which fit in a last-level
/// cache beside other data.
const BATCH_ELEMENTS: usize = 2 << 20;

/// The smallest number of tiles that are transformed at a time: with fewer, loading the sums would not pay off.
const FEWEST_TILES: usize = 128;

/// Cost of an element of the sums, in multiply-adds: it is loaded and stored for every batch of tiles, and transformed
/// at the end.
const SUM: usize = 200;

/// `grad_filters = G'(sum over tiles of (B' patch B) * (A grad_output A'))G`, element by element inside, with the matrices
/// of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct WinogradFilters<'a> {
    geometry: &'a ConvGeometry,
}

impl<'a> WinogradFilters<'a> {
    /// The pass in this form, if it is possible.
    pub fn new(geometry: &'a ConvGeometry) -> Option<Self> {
        let ConvGeometry { in_channels, out_channels, height, width, groups, .. } = geometry;
        let fits = |axis: &Axis| is_in_reach(axis) && axis.output >= OUTPUTS;
        let enough = [in_channels, out_channels].iter().all(|&&channels| channels >= FEWEST_CHANNELS[0]);
        let positions = geometry.batch_size * geometry.positions();
        let fits = fits(height) && fits(width) && positions >= SHORTEST_SUM;
        (*groups == 1 && fits && enough).then_some(WinogradFilters { geometry })
    }

    /// Whether it is expected to be faster than the definition's products.
    pub fn pays(&self) -> bool {
        let ConvGeometry { batch_size, in_channels, out_channels, .. } = *self.geometry;
        let tiles = batch_size * self.tiles()[0] * self.tiles()[1];
        let products = PARTS * in_channels * out_channels;
        let transforms = TRANSFORM * PARTS * (in_channels + out_channels);
        // The sums leave the caches more often than the results of other passes do.
        let cost = tiles * (products * 3 / 2 + transforms) + SUM * products;
        (cost as u64) < self.geometry.flops() / 2
    }

    /// Number of tiles down and across an image.
    fn tiles(&self) -> [usize; 2] {
        [self.geometry.height, self.geometry.width].map(|axis| axis.output.div_ceil(OUTPUTS))
    }

    /// Runs the pass on all cores.
    pub fn run(&self, operands: FilterOperands<'_>) {
        let FilterOperands { input, ref grad_output, grad_filters } = operands;
        let ConvGeometry { batch_size, in_channels, out_channels, .. } = *self.geometry;
        let [down, across] = self.tiles();
        // A strip is a row of tiles.
        let strips = batch_size * down;
        let fitting = BATCH_ELEMENTS / (PARTS * (in_channels + out_channels));
        let strips_at_once = fitting.max(FEWEST_TILES).div_ceil(across).min(strips);
        let tiles = strips_at_once * across;
        let input = Source::plain(input, in_channels);
        with_scratch(PARTS * out_channels * in_channels, |sums| {
            sums.fill(0.0);
            with_scratch(PARTS * (tiles * in_channels + spare()), |patches| {
                with_scratch(PARTS * tiles * out_channels, |gradients| {
                    for first in (0..strips).step_by(strips_at_once) {
                        let count = strips_at_once.min(strips - first);
                        self.transform(first, count, &input, grad_output, patches, gradients);
                        self.add(count * across, patches, gradients, sums);
                    }
                });
            });
            let filters = grad_filters.par_chunks_mut(9 * in_channels).enumerate();
            filters.for_each(|(k, grad_filter)| {
                transform_tiles(&mut TransformSums {
                    sums,
                    k,
                    channels: [in_channels, out_channels],
                    grad_filter,
                });
            });
        });
    }

    /// Transforms some rows of tiles: `patches[strip][part][tile][c]` and `gradients[strip][part][tile][k]`.
    fn transform(
        &self,
        first: usize,
        count: usize,
        input: &Source<'_>,
        grad_output: &Source<'_>,
        patches: &mut [f32],
        gradients: &mut [f32],
    ) {
        let ConvGeometry { in_channels, out_channels, height, width, .. } = *self.geometry;
        let [down, across] = self.tiles();
        let [patch_height, patch_width] = [(&height, down), (&width, across)]
            .map(|(axis, tiles)| Line { results: tiles * OUTPUTS, ..Line::forward(axis) });
        let [grad_height, grad_width] = [(&height, down), (&width, across)].map(|(axis, tiles)| Line {
            source: axis.output,
            results: tiles * OUTPUTS,
            step: 1,
            taps: 1,
            dilation: 1,
            before: 0,
        });
        let (patch_part, grad_part) = (across * in_channels, across * out_channels);
        let strips =
            patches.par_chunks_mut(PARTS * patch_part).zip(gradients.par_chunks_mut(PARTS * grad_part));
        strips.take(count).enumerate().for_each(|(strip, (patches, gradients))| {
            let (image, row) = ((first + strip) / down, (first + strip) % down);
            let rows = row * OUTPUTS..(row + 1) * OUTPUTS;
            input.with_strip(image, &patch_height, &patch_width, rows.clone(), 0, |strip, pitch| {
                let (counts, channels, part) = ([1, across], in_channels, patch_part);
                transform_tiles(&mut TransformPatches { strip, pitch, counts, channels, patches, part });
            });
            grad_output.with_strip(image, &grad_height, &grad_width, rows, 0, |strip, pitch| {
                let (tiles, channels) = (across, out_channels);
                transform_tiles(&mut TransformGradients { strip, pitch, tiles, channels, gradients });
            });
        });
    }

    /// Adds the products of transformed tiles to the sums `[part][k][c]`.
    fn add(&self, tiles: usize, patches: &[f32], gradients: &[f32], sums: &mut [f32]) {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let across = self.tiles()[1];
        let positions = Positions {
            counts: [1, tiles / across, across],
            left_steps: [0, PARTS * across * out_channels, out_channels],
            right_steps: [0, PARTS * across * in_channels, in_channels],
        };
        sums.par_chunks_mut(out_channels * in_channels).enumerate().for_each(|(part, sums)| {
            let left = &gradients[part * across * out_channels..];
            let right = &patches[part * across * in_channels..];
            add_outer_products(&positions, left, out_channels, right, in_channels, sums, in_channels);
        });
    }
}

/// `A grad_output A'` for a row of tiles.
struct TransformGradients<'a> {
    strip: &'a [f32],
    pitch: usize,
    tiles: usize,
    channels: usize,
    gradients: &'a mut [f32],
}

impl TileTransform<OUTPUTS, INPUTS> for TransformGradients<'_> {
    fn counts(&self) -> [usize; 2] {
        [1, self.tiles]
    }

    fn channels(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn read<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        [_, tile]: [usize; 2],
        [row, column]: [usize; 2],
        part: PixelPart,
    ) -> S::f32s {
        let pixel = row * self.pitch + (tile * OUTPUTS + column) * self.channels;
        part.read::<S, WHOLE>(simd, self.strip, pixel)
    }

    #[inline(always)]
    fn line<S: Simd>(simd: S, values: [S::f32s; OUTPUTS]) -> [S::f32s; INPUTS] {
        grad_line(simd, values)
    }

    #[inline(always)]
    fn write<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        [_, tile]: [usize; 2],
        [u, v]: [usize; 2],
        part: PixelPart,
        value: S::f32s,
    ) {
        let pixel = ((u * INPUTS + v) * self.tiles + tile) * self.channels;
        part.write::<S, WHOLE>(simd, self.gradients, pixel, value);
    }
}

/// `G' sums G` for one filter.
struct TransformSums<'a> {
    sums: &'a [f32],
    k: usize,
    /// Number of channels of the input and of the output.
    channels: [usize; 2],
    grad_filter: &'a mut [f32],
}

impl TileTransform<INPUTS, 3> for TransformSums<'_> {
    fn counts(&self) -> [usize; 2] {
        [1, 1]
    }

    fn channels(&self) -> usize {
        self.channels[0]
    }

    #[inline(always)]
    fn read<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        _: [usize; 2],
        [u, v]: [usize; 2],
        part: PixelPart,
    ) -> S::f32s {
        let [channels, filters] = self.channels;
        part.read::<S, WHOLE>(simd, self.sums, ((u * INPUTS + v) * filters + self.k) * channels)
    }

    #[inline(always)]
    fn line<S: Simd>(simd: S, values: [S::f32s; INPUTS]) -> [S::f32s; 3] {
        filter_grad_line(simd, values)
    }

    #[inline(always)]
    fn write<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        _: [usize; 2],
        [r, s]: [usize; 2],
        part: PixelPart,
        value: S::f32s,
    ) {
        part.write::<S, WHOLE>(simd, self.grad_filter, (r * 3 + s) * self.channels[0], value);
    }
}
