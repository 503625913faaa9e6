//! Winograd's convolution on the CPU: tiles of 4x4 results from patches of 6x6, with 36 products where the definition
//! has 144. A block of tiles that fits a cache is processed at a time.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::correlation::{Correlation, CorrelationOperands};
use super::line::Line;
use super::source::Source;
use super::winograd_lines::{
    INPUTS, OUTPUTS, PixelPart, TileTransform, filter_line, input_line, output_line, transform_tiles,
};
use crate::cpu::{Panels, Rows, load_part, store_part, vectorized, with_scratch};

/// Number of elements of a patch, and of products per tile and pair of channels.
pub const PARTS: usize = INPUTS * INPUTS;

/// Number of elements of a block's patches and products: 768 KiB, which fit in a core's second-level cache.
const BLOCK_ELEMENTS: usize = 192 << 10;

/// The smallest number of tiles in a block: with fewer, reading the filters would not pay off.
const FEWEST_TILES: usize = 24;

/// The smallest number of summed channels, and of channels of the result, with which the transforms pay off.
pub const FEWEST_CHANNELS: [usize; 2] = [16, 16];

/// Cost of transforming an element of a patch or of a result, in multiply-adds.
pub const TRANSFORM: usize = 10;

/// Cost of an element of the transformed filters, in multiply-adds.
const FILTER_TRANSFORM: usize = 6;

/// A pass of a 3x3 convolution without strides, tile by tile.
#[derive(Clone, Copy, Debug)]
pub struct WinogradCorrelation<'a> {
    correlation: Correlation<'a>,
    height: Line,
    width: Line,
    /// Number of channels of the source and of the result.
    channels: [usize; 2],
}

impl<'a> WinogradCorrelation<'a> {
    /// The pass in this form, if it is possible.
    pub fn new(correlation: Correlation<'a>) -> Option<Self> {
        let [height, width] = correlation.single_phase()?;
        let channels = correlation.group_channels();
        let fits =
            |line: &Line| line.taps == 3 && line.step == 1 && line.dilation == 1 && line.results >= OUTPUTS;
        let enough = channels[0] >= FEWEST_CHANNELS[0] && channels[1] >= FEWEST_CHANNELS[1];
        (correlation.groups() == 1 && fits(&height) && fits(&width) && enough)
            .then_some(WinogradCorrelation { correlation, height, width, channels })
    }

    /// Whether it is expected to be faster than the definition's products.
    pub fn pays(&self) -> bool {
        let [source, result] = self.channels;
        let [down, across] = self.tiles();
        let tiles = self.correlation.images() * down * across;
        let products = PARTS * source * result;
        let cost = tiles * (products + TRANSFORM * PARTS * (source + result)) + FILTER_TRANSFORM * products;
        let results = self.correlation.images() * self.height.results * self.width.results;
        cost < 9 * results * source * result
    }

    /// Number of tiles down and across an image.
    fn tiles(&self) -> [usize; 2] {
        [self.height, self.width].map(|line| line.results.div_ceil(OUTPUTS))
    }

    /// The packed layout of the filters of one part.
    fn panels(&self) -> Panels {
        Panels::new(self.channels[0], self.channels[1])
    }

    /// Number of images and of rows of tiles in a block: several whole images, or some rows of one.
    fn block(&self) -> [usize; 2] {
        let [down, across] = self.tiles();
        let fitting = BLOCK_ELEMENTS / (PARTS * (self.channels[0] + self.channels[1]));
        let tiles = fitting.max(FEWEST_TILES);
        match tiles / (down * across) {
            0 => {
                let rows = (tiles / across).max(1);
                [1, down.div_ceil(down.div_ceil(rows))]
            }
            images => {
                [images.min(self.correlation.images().div_ceil(rayon::current_num_threads())).max(1), down]
            }
        }
    }

    /// Runs the pass on all cores.
    pub fn run(&self, operands: CorrelationOperands<'_, impl Fn(&mut [f32]) + Sync>) {
        let CorrelationOperands { ref source, filters, result, finish } = operands;
        let panels = self.panels();
        with_scratch(PARTS * panels.elements(), |transformed| {
            with_scratch(self.correlation.packed_elements(), |packed| {
                self.correlation.pack(filters, packed);
                self.transform_filters(packed, transformed);
            });
            let transformed = &*transformed;
            let row = self.width.results * self.channels[1];
            let image = self.height.results * row;
            let [images, tile_rows] = self.block();
            let down = self.tiles()[0];
            result.par_chunks_mut(images * image).enumerate().for_each(|(number, result)| {
                let first_image = number * images;
                let rows = if tile_rows == down { result.len() } else { tile_rows * OUTPUTS * row };
                result.par_chunks_mut(rows).enumerate().for_each(|(number, result)| {
                    let images = first_image..first_image + result.len().div_ceil(image);
                    let first = number * tile_rows;
                    let block = Block { images, tile_rows: first..down.min(first + tile_rows) };
                    self.run_block(&block, source, transformed, result);
                    finish(result);
                });
            });
        });
    }

    /// Transforms filters that are packed in panels `[3,3,source channels]` to those of each part: `[panel][part]`.
    fn transform_filters(&self, packed: &[f32], transformed: &mut [f32]) {
        let stride = self.panels().stride();
        let panels = transformed.par_chunks_mut(PARTS * stride).zip(packed.par_chunks(9 * stride));
        panels.for_each(|(transformed, packed)| vectorized(TransformFilters { packed, transformed }));
    }

    fn run_block(&self, block: &Block, source: &Source<'_>, filters: &[f32], result: &mut [f32]) {
        let [source_channels, result_channels] = self.channels;
        let across = self.tiles()[1];
        let tiles_of_image = block.tile_rows.len() * across;
        let tiles = block.images.len() * tiles_of_image;
        let panels = self.panels();
        // One row more than there are tiles, so that the parts do not compete for the same cache sets.
        let part_rows = tiles + 1;
        let sizes = [source_channels, result_channels].map(|channels| part_rows * channels);
        with_scratch(PARTS * sizes[0], |patches| {
            let height = Line { results: self.tiles()[0] * OUTPUTS, ..self.height };
            let width = Line { results: across * OUTPUTS, ..self.width };
            let rows = block.tile_rows.start * OUTPUTS..block.tile_rows.end * OUTPUTS;
            for (number, image) in block.images.clone().enumerate() {
                source.with_strip(image, &height, &width, rows.clone(), 0, |strip, pitch| {
                    transform_tiles(&mut TransformPatches {
                        strip,
                        pitch,
                        counts: [block.tile_rows.len(), across],
                        channels: source_channels,
                        patches: &mut patches[number * tiles_of_image * source_channels..],
                        part: sizes[0],
                    });
                });
            }
            with_scratch(PARTS * sizes[1], |products| {
                let rows = Rows {
                    counts: [1, tiles],
                    source_steps: [0, source_channels],
                    result_steps: [0, result_channels],
                    runs: [1, 1],
                    run_steps: [0, 0],
                    run_length: source_channels,
                    bounds: None,
                };
                let parts = products.chunks_exact_mut(sizes[1]).zip(patches.chunks_exact(sizes[0]));
                for (part, (products, patches)) in parts.enumerate() {
                    for (panel, filters) in filters.chunks(PARTS * panels.stride()).enumerate() {
                        let elements = filters.len() / PARTS;
                        let filters = &filters[part * elements..][..elements];
                        rows.multiply_panel(patches, &panels, panel, filters, products);
                    }
                }
                let image = result.len() / block.images.len();
                let columns = self.width.results;
                for (number, result) in result.chunks_exact_mut(image).enumerate() {
                    transform_tiles(&mut TransformProducts {
                        products: &products[number * tiles_of_image * result_channels..],
                        part: sizes[1],
                        counts: [block.tile_rows.len(), across],
                        channels: result_channels,
                        rows: image / (columns * result_channels),
                        columns,
                        result,
                    });
                }
            });
        });
    }
}

/// Tiles that are processed together.
struct Block {
    images: Range<usize>,
    tile_rows: Range<usize>,
}

/// `G filter G'` for every pair of channels of a panel.
struct TransformFilters<'a> {
    packed: &'a [f32],
    transformed: &'a mut [f32],
}

impl WithSimd for TransformFilters<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let TransformFilters { packed, transformed } = self;
        let elements = packed.len() / 9;
        for at in (0..elements).step_by(S::F32_LANES) {
            let mut lines = [[simd.splat_f32s(0.0); 3]; INPUTS];
            for s in 0..3 {
                let tap = |r: usize| {
                    load_part(simd, &packed[(r * 3 + s) * elements + at..(r * 3 + s + 1) * elements])
                };
                let line = filter_line(simd, [tap(0), tap(1), tap(2)]);
                for (lines, value) in lines.iter_mut().zip(line) {
                    lines[s] = value;
                }
            }
            for (u, line) in lines.into_iter().enumerate() {
                for (v, value) in filter_line(simd, line).into_iter().enumerate() {
                    let part = &mut transformed[(u * INPUTS + v) * elements..][..elements];
                    store_part(simd, &mut part[at..], value);
                }
            }
        }
    }
}

/// `B' patch B` for every tile of some rows: `patches[part][tile][channel]`.
pub struct TransformPatches<'a> {
    /// The rows of the source under the tiles.
    pub strip: &'a [f32],
    /// Distance from one row to the next, in elements.
    pub pitch: usize,
    /// Number of tiles down and across.
    pub counts: [usize; 2],
    /// Number of values in a pixel.
    pub channels: usize,
    /// Receives the transformed patches.
    pub patches: &'a mut [f32],
    /// Distance from one part of the patches to the next, in elements.
    pub part: usize,
}

impl TileTransform<INPUTS, INPUTS> for TransformPatches<'_> {
    fn counts(&self) -> [usize; 2] {
        self.counts
    }

    fn channels(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn read<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        [down, across]: [usize; 2],
        [row, column]: [usize; 2],
        part: PixelPart,
    ) -> S::f32s {
        let pixel = (down * OUTPUTS + row) * self.pitch + (across * OUTPUTS + column) * self.channels;
        part.read::<S, WHOLE>(simd, self.strip, pixel)
    }

    #[inline(always)]
    fn line<S: Simd>(simd: S, values: [S::f32s; INPUTS]) -> [S::f32s; INPUTS] {
        input_line(simd, values)
    }

    #[inline(always)]
    fn write<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        [down, across]: [usize; 2],
        [u, v]: [usize; 2],
        part: PixelPart,
        value: S::f32s,
    ) {
        let tile = down * self.counts[1] + across;
        let pixel = (u * INPUTS + v) * self.part + tile * self.channels;
        part.write::<S, WHOLE>(simd, self.patches, pixel, value);
    }
}

/// `A' products A` for every tile of some rows, as far as it lies in the result.
struct TransformProducts<'a> {
    products: &'a [f32],
    part: usize,
    counts: [usize; 2],
    channels: usize,
    /// Number of rows and columns of the result.
    rows: usize,
    columns: usize,
    result: &'a mut [f32],
}

impl TileTransform<INPUTS, OUTPUTS> for TransformProducts<'_> {
    fn counts(&self) -> [usize; 2] {
        self.counts
    }

    fn channels(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn read<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        [down, across]: [usize; 2],
        [u, v]: [usize; 2],
        part: PixelPart,
    ) -> S::f32s {
        let tile = down * self.counts[1] + across;
        let pixel = (u * INPUTS + v) * self.part + tile * self.channels;
        part.read::<S, WHOLE>(simd, self.products, pixel)
    }

    #[inline(always)]
    fn line<S: Simd>(simd: S, values: [S::f32s; INPUTS]) -> [S::f32s; OUTPUTS] {
        output_line(simd, values)
    }

    #[inline(always)]
    fn write<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        [down, across]: [usize; 2],
        [row, column]: [usize; 2],
        part: PixelPart,
        value: S::f32s,
    ) {
        let (row, column) = (down * OUTPUTS + row, across * OUTPUTS + column);
        if row < self.rows && column < self.columns {
            let pixel = (row * self.columns + column) * self.channels;
            part.write::<S, WHOLE>(simd, self.result, pixel, value);
        }
    }
}
