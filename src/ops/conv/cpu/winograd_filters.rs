//! The filter gradient by Winograd's convolution: the transpose of its forward pass, tile by tile.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::filter_sums::FilterOperands;
use super::line::Line;
use super::source::Source;
use super::winograd::{FEWEST_CHANNELS, PARTS, TRANSFORM, TransformPatches};
use super::winograd_lines::{
    INPUTS, OUTPUTS, PixelPart, TileTransform, filter_grad_line, grad_line, transform_tiles,
};
use crate::cpu::{Positions, add_in_order, add_outer_products, spare, with_scratch};
use crate::ops::conv::ConvGeometry;
use crate::ops::conv::winograd::{SHORTEST_SUM, is_in_reach};
use crate::ops::window::Axis;

/// Number of elements of the patches and gradients that are transformed at a time: 8 MiB, which fit in a last-level
/// cache beside other data.
const BATCH_ELEMENTS: usize = 2 << 20;

/// The largest number of elements of the sums with which a core sums a share of the strips alone, into sums of its own, so
/// that what it transforms stays in its caches: 256 KiB.
const OWN_SUMS_ELEMENTS: usize = 64 << 10;

/// Number of elements of the patches and gradients that a core transforms at a time then: 512 KiB.
const SHARE_ELEMENTS: usize = 128 << 10;

/// The largest number of such shares. It does not depend on the number of cores, so that the answer does not either.
const MOST_SHARES: usize = 16;

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
        let input = Source::plain(input, in_channels);
        let strips = batch_size * self.tiles()[0];
        let elements = PARTS * out_channels * in_channels;
        with_scratch(elements, |sums| {
            if elements > OWN_SUMS_ELEMENTS {
                self.sum_together(strips, &input, grad_output, sums);
            } else {
                let shares = (strips * self.tiles()[1] / FEWEST_TILES).clamp(1, MOST_SHARES);
                with_scratch(shares * elements, |of_shares| {
                    of_shares.par_chunks_mut(elements).enumerate().for_each(|(share, sums)| {
                        let first = |share: usize| share * strips / shares;
                        self.sum_alone(first(share)..first(share + 1), &input, grad_output, sums);
                    });
                    add_in_order(sums, of_shares);
                });
            }
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

    /// Number of strips, which are rows of tiles, that are transformed at a time: as many as fit, but not too few.
    fn strips_at_once(&self, fitting: usize, fewest_tiles: usize) -> usize {
        let ConvGeometry { in_channels, out_channels, .. } = self.geometry;
        let tiles = fitting / (PARTS * (in_channels + out_channels));
        tiles.max(fewest_tiles).div_ceil(self.tiles()[1])
    }

    /// Sums all strips, with all cores first on the transforms of some of them, then on the sums of each part.
    fn sum_together(&self, strips: usize, input: &Source<'_>, grad_output: &Source<'_>, sums: &mut [f32]) {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let across = self.tiles()[1];
        let at_once = self.strips_at_once(BATCH_ELEMENTS, FEWEST_TILES).min(strips);
        // `[strip][part][tile][channel]`
        let pixels = across * PARTS;
        sums.fill(0.0);
        with_scratch(at_once * pixels * in_channels + spare(), |patches| {
            with_scratch(at_once * pixels * out_channels, |gradients| {
                for first in (0..strips).step_by(at_once) {
                    let count = at_once.min(strips - first);
                    let patches_of = patches.par_chunks_mut(pixels * in_channels);
                    let gradients_of = gradients.par_chunks_mut(pixels * out_channels);
                    let numbers = (first..first + count).into_par_iter();
                    numbers.zip(patches_of.zip(gradients_of)).for_each(|(strip, (patches, gradients))| {
                        self.transform(strip, input, grad_output, patches, gradients, across);
                    });
                    let part = out_channels * in_channels;
                    let counts = [1, count, across];
                    sums.par_chunks_mut(part).enumerate().for_each(|(part, sums)| {
                        self.add(part, counts, pixels, patches, gradients, across, sums);
                    });
                }
            });
        });
    }

    /// Sums some strips on the calling thread.
    fn sum_alone(
        &self,
        strips: Range<usize>,
        input: &Source<'_>,
        grad_output: &Source<'_>,
        sums: &mut [f32],
    ) {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let across = self.tiles()[1];
        let at_once = self.strips_at_once(SHARE_ELEMENTS, FEWEST_TILES / 2).min(strips.len());
        // `[part][tile][channel]`, with a tile more than there are, so that the parts do not compete for the same cache sets.
        let pitch = at_once * across + 1;
        sums.fill(0.0);
        with_scratch(PARTS * pitch * in_channels + spare(), |patches| {
            with_scratch(PARTS * pitch * out_channels, |gradients| {
                for first in strips.clone().step_by(at_once) {
                    let count = at_once.min(strips.end - first);
                    for strip in 0..count {
                        let (patches, gradients) = (
                            &mut patches[strip * across * in_channels..],
                            &mut gradients[strip * across * out_channels..],
                        );
                        self.transform(first + strip, input, grad_output, patches, gradients, pitch);
                    }
                    for (part, sums) in sums.chunks_exact_mut(out_channels * in_channels).enumerate() {
                        self.add(part, [1, 1, count * across], 0, patches, gradients, pitch, sums);
                    }
                }
            });
        });
    }

    /// Transforms the tiles of a strip. From one part of them to the next, there are `pitch` pixels.
    fn transform(
        &self,
        strip: usize,
        input: &Source<'_>,
        grad_output: &Source<'_>,
        patches: &mut [f32],
        gradients: &mut [f32],
        pitch: usize,
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
        let parts = [in_channels, out_channels].map(|channels| pitch * channels);
        let (image, row) = (strip / down, strip % down);
        let rows = row * OUTPUTS..(row + 1) * OUTPUTS;
        input.with_strip(image, &patch_height, &patch_width, rows.clone(), 0, |strip, pitch| {
            let (counts, channels, part) = ([1, across], in_channels, parts[0]);
            transform_tiles(&mut TransformPatches { strip, pitch, counts, channels, patches, part });
        });
        grad_output.with_strip(image, &grad_height, &grad_width, rows, 0, |strip, pitch| {
            let (tiles, channels, part) = (across, out_channels, parts[1]);
            transform_tiles(&mut TransformGradients { strip, pitch, tiles, channels, gradients, part });
        });
    }

    /// Adds the products of transformed tiles to the sums `[k][c]` of a part. The tiles are `counts` many: strips are `step`
    /// pixels apart, and parts `pitch` pixels.
    #[allow(clippy::too_many_arguments, reason = "the layout of the tiles")]
    fn add(
        &self,
        part: usize,
        counts: [usize; 3],
        step: usize,
        patches: &[f32],
        gradients: &[f32],
        pitch: usize,
        sums: &mut [f32],
    ) {
        let ConvGeometry { in_channels, out_channels, .. } = *self.geometry;
        let positions = Positions {
            counts,
            left_steps: [0, step * out_channels, out_channels],
            right_steps: [0, step * in_channels, in_channels],
        };
        let left = &gradients[part * pitch * out_channels..];
        let right = &patches[part * pitch * in_channels..];
        add_outer_products(&positions, left, out_channels, right, in_channels, sums, in_channels);
    }
}

/// `A grad_output A'` for a row of tiles.
struct TransformGradients<'a> {
    strip: &'a [f32],
    pitch: usize,
    tiles: usize,
    channels: usize,
    gradients: &'a mut [f32],
    /// Distance from one part of the gradients to the next, in elements.
    part: usize,
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
        let pixel = (u * INPUTS + v) * self.part + tile * self.channels;
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
