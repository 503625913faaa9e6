//! The filter gradient: outer products of grad_output's pixels and the input's windows, which are read where they lie.

use std::ops::Range;

use rayon::prelude::*;

use super::line::Line;
use super::source::Source;
use crate::cpu::{
    Bounds, Positions, add_channel_products, add_in_order, add_outer_products, lanes, with_scratch,
};
use crate::ops::conv::ConvGeometry;
use crate::ops::window::Axis;

/// Positions in a strip, at least: fewer would not pay for taking up the sums and putting them back.
const FEWEST_POSITIONS: usize = 196;

/// Positions of a strip where all taps are one.
const POINTWISE_POSITIONS: usize = 256;

/// Elements of a strip of the input: 512 KiB, so that it stays in a core's second cache.
const STRIP_ELEMENTS: usize = 128 << 10;

/// Output channels of a block, at least, and blocks, at most: each reads the whole input.
const FEWEST_FILTERS: usize = 48;
const MOST_BLOCKS: usize = 8;

/// Strips of a part of the positions, if there are so many: each part has sums of its own, to be cleared and added.
const FEWEST_STRIPS: usize = 4;

/// Pieces of work: enough for any number of cores, and never one a core, so that the answer does not depend on their
/// number.
const PIECES: usize = 32;

/// Elements that all partial sums take together, at most.
const PARTIAL_SUMS_ELEMENTS: usize = 8 << 20;

/// The filter gradient of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct FilterSums<'a> {
    geometry: &'a ConvGeometry,
}

/// The strips that make a part of the positions, and the output channels of a block.
struct Piece {
    strips: Range<usize>,
    channels: Range<usize>,
}

impl<'a> FilterSums<'a> {
    /// The gradient for a convolution of these sizes.
    pub fn new(geometry: &'a ConvGeometry) -> Self {
        FilterSums { geometry }
    }

    /// The lines along both axes where all taps are one, without what meets padding alone: strips then go through all
    /// images.
    fn pointwise(&self) -> Option<Pointwise> {
        let ConvGeometry { height, width, groups, .. } = self.geometry;
        if *groups > 1 || height.kernel * width.kernel > 1 {
            return None;
        }
        let [(height, first_row), (width, first_column)] =
            [height, width].map(|axis| Line::forward(axis).trimmed());
        let output = |axis: &Axis, results, first: usize| Line {
            source: axis.output,
            results,
            step: 1,
            taps: 1,
            dilation: 1,
            before: -(first as isize),
        };
        let gradient = [
            output(&self.geometry.height, height.results, first_row),
            output(&self.geometry.width, width.results, first_column),
        ];
        Some(Pointwise { input: [height, width], gradient })
    }

    /// Runs of taps that lie side by side in a row of the input, and the values of each.
    fn runs(&self) -> [usize; 2] {
        let ConvGeometry { width, groups, .. } = self.geometry;
        let group_in = self.geometry.group_in_channels();
        if *groups == 1 && width.dilation == 1 {
            [1, width.kernel * group_in]
        } else {
            [width.kernel, group_in]
        }
    }

    /// Whether vectors hold output channels, and not neighbours in the input: where that leaves fewer of their
    /// lanes empty.
    fn is_across_filters(&self) -> bool {
        if self.geometry.is_depthwise() {
            return true;
        }
        let group_out = self.geometry.group_out_channels();
        let [runs, length] = self.runs();
        let vectors = |values: usize| values.div_ceil(lanes());
        runs * length * vectors(group_out) < group_out * runs * vectors(length)
    }

    fn strip_rows(&self) -> usize {
        let ConvGeometry { height, width, in_channels, .. } = self.geometry;
        let row = Line::forward(width).span(width.output) * in_channels;
        let shared = (height.kernel - 1) * height.dilation * row;
        let fitting = STRIP_ELEMENTS.saturating_sub(shared) / (height.stride * row);
        let rows = FEWEST_POSITIONS.div_ceil(width.output).min(fitting).clamp(1, height.output);
        height.output.div_ceil(height.output.div_ceil(rows))
    }

    /// Runs the pass on all cores; `grad_output` holds the gradient and what is done to it as it is read.
    pub fn run(&self, input: &[f32], grad_output: &Source<'_>, grad_filters: &mut [f32]) {
        let ConvGeometry { batch_size, out_channels, groups, .. } = *self.geometry;
        let (elements, taps) = (grad_filters.len(), self.geometry.taps());
        let pointwise = self.pointwise();
        let strips = match &pointwise {
            Some(pointwise) => (batch_size * pointwise.positions()).div_ceil(POINTWISE_POSITIONS),
            None => batch_size * self.geometry.height.output.div_ceil(self.strip_rows()),
        };
        if strips == 0 {
            return grad_filters.fill(0.0);
        }
        let across_filters = self.is_across_filters();
        let blocks = match across_filters || groups > 1 {
            true => 1,
            // A power of two, so that they come out even on most machines.
            false => 1 << (out_channels / FEWEST_FILTERS).clamp(1, MOST_BLOCKS).ilog2(),
        };
        let block = out_channels.div_ceil(blocks);
        let parts =
            strips.div_ceil(FEWEST_STRIPS).min(PIECES / blocks).min(PARTIAL_SUMS_ELEMENTS / elements).max(1);
        let strips_in_part = strips.div_ceil(parts);
        let parts = strips.div_ceil(strips_in_part);
        let work = |sums: &mut [f32]| {
            sums.par_chunks_mut(elements).enumerate().for_each(|(part, sums)| {
                sums.par_chunks_mut(block * taps).enumerate().for_each(|(number, sums)| {
                    let first = part * strips_in_part;
                    let channels = number * block..number * block + sums.len() / taps;
                    let piece = Piece { strips: first..strips.min(first + strips_in_part), channels };
                    sums.fill(0.0);
                    match &pointwise {
                        Some(pointwise) => {
                            self.run_pointwise(&piece, pointwise, across_filters, input, grad_output, sums);
                        }
                        None => self.run_piece(&piece, across_filters, input, grad_output, sums),
                    }
                });
            });
        };
        if parts == 1 && !across_filters {
            return work(grad_filters);
        }
        with_scratch(parts * elements, |sums| {
            work(sums);
            if !across_filters {
                return add_in_order(grad_filters, sums);
            }
            // Filters that the sums of a tap hold side by side.
            let together = if self.geometry.is_depthwise() { out_channels } else { out_channels / groups };
            with_scratch(elements, |sum| {
                add_in_order(sum, sums);
                // From [.., taps, filters together] to [filters, taps].
                for (index, gradient) in grad_filters.iter_mut().enumerate() {
                    let (k, tap) = (index / taps, index % taps);
                    *gradient = sum[(k / together * taps + tap) * together + k % together];
                }
            });
        });
    }

    /// Adds up one piece, strip by strip.
    fn run_piece(
        &self,
        piece: &Piece,
        across_filters: bool,
        input: &[f32],
        grad_output: &Source<'_>,
        sums: &mut [f32],
    ) {
        let ConvGeometry { height, width, in_channels, .. } = self.geometry;
        let (down, across) = (Line::forward(height), Line::forward(width));
        let strip_rows = self.strip_rows();
        let strips_in_image = height.output.div_ceil(strip_rows);
        let input = Source::plain(input, *in_channels);
        let spare = 2 * lanes();
        for strip in piece.strips.clone() {
            let (image, first) = (strip / strips_in_image, strip % strips_in_image * strip_rows);
            let rows = first..height.output.min(first + strip_rows);
            input.with_strip(image, &down, &across, rows.clone(), spare, |input, pitch| {
                let pixels = (image * height.output + rows.start) * width.output;
                let pixels = pixels..pixels + rows.len() * width.output;
                let channels = piece.channels.clone();
                grad_output.with_pixels(pixels, channels, spare, |grad_output, channels| {
                    let grid = Grid { rows: rows.clone(), input_pitch: pitch, output_pixel: channels };
                    self.add_strip(&grid, across_filters, input, grad_output, sums);
                });
            });
        }
    }

    /// The same where all taps are one.
    fn run_pointwise(
        &self,
        piece: &Piece,
        pointwise: &Pointwise,
        across_filters: bool,
        input: &[f32],
        grad_output: &Source<'_>,
        sums: &mut [f32],
    ) {
        let ConvGeometry { batch_size, in_channels, .. } = *self.geometry;
        let input = Source::plain(input, in_channels);
        let (channels, all) = (piece.channels.clone(), grad_output.channels);
        let spare = 2 * lanes();
        for strip in piece.strips.clone() {
            let first = strip * POINTWISE_POSITIONS;
            let numbers = first..(batch_size * pointwise.positions()).min(first + POINTWISE_POSITIONS);
            let counts = [1, numbers.len()];
            let [height, width] = &pointwise.input;
            input.with_gathered(numbers.clone(), height, width, spare, |input| {
                let [height, width] = &pointwise.gradient;
                grad_output.with_gathered(numbers, height, width, spare, |grad_output| {
                    let grad_output = &grad_output[channels.start..];
                    let (input_steps, output_steps) = ([0, in_channels], [0, all]);
                    if across_filters {
                        let positions =
                            Positions { counts, left_steps: input_steps, right_steps: output_steps };
                        add_outer_products(&positions, input, in_channels, grad_output, all, sums, all);
                    } else {
                        let positions =
                            Positions { counts, left_steps: output_steps, right_steps: input_steps };
                        let rows = channels.len();
                        add_outer_products(
                            &positions,
                            grad_output,
                            rows,
                            input,
                            in_channels,
                            sums,
                            in_channels,
                        );
                    }
                });
            });
        }
    }

    /// Adds the products of one strip to the sums.
    fn add_strip(
        &self,
        grid: &Grid,
        across_filters: bool,
        input: &[f32],
        grad_output: &[f32],
        sums: &mut [f32],
    ) {
        let ConvGeometry { height, width, in_channels, groups, .. } = *self.geometry;
        let (taps, group_in) = (self.geometry.taps(), self.geometry.group_in_channels());
        let group_out = sums.len() / taps / groups;
        let [runs, length] = self.runs();
        let input_steps = [height.stride * grid.input_pitch, width.stride * in_channels];
        let output_steps = [width.output * grid.output_pixel, grid.output_pixel];
        // The rows that do not meet padding alone, and where they lie.
        let rows_of = |r: usize| {
            let down = Line::forward(&height);
            let first = down.start(grid.rows.start) + (r * down.dilation) as isize;
            let bounds = Bounds { first, row_step: 0, run_step: down.step, positions: down.source };
            let inside = bounds.runs_inside(0, grid.rows.len());
            let input = r * height.dilation * grid.input_pitch + inside.start * input_steps[0];
            ([inside.len(), width.output], input, inside.start * output_steps[0])
        };
        if self.geometry.is_depthwise() {
            let tap_step = width.dilation * in_channels;
            for (r, sums) in sums.chunks_exact_mut(width.kernel * in_channels).enumerate() {
                let (counts, input_start, output_start) = rows_of(r);
                if counts[0] == 0 {
                    continue;
                }
                let positions = Positions { counts, left_steps: input_steps, right_steps: output_steps };
                let (input, grad_output) = (&input[input_start..], &grad_output[output_start..]);
                add_channel_products(&positions, input, tap_step, grad_output, in_channels, sums);
            }
            return;
        }
        for (group, sums) in sums.chunks_exact_mut(group_out * taps).enumerate() {
            let grad_output = &grad_output[group * group_out..];
            for (r, s) in (0..height.kernel).flat_map(|r| (0..runs).map(move |s| (r, s))) {
                let (counts, input_start, output_start) = rows_of(r);
                if counts[0] == 0 {
                    continue;
                }
                let input = &input[input_start + s * width.dilation * in_channels + group * group_in..];
                let grad_output = &grad_output[output_start..];
                let tap = (r * runs + s) * length;
                if across_filters {
                    let positions = Positions { counts, left_steps: input_steps, right_steps: output_steps };
                    let sums = &mut sums[tap * group_out..];
                    add_outer_products(&positions, input, length, grad_output, group_out, sums, group_out);
                } else {
                    let positions = Positions { counts, left_steps: output_steps, right_steps: input_steps };
                    add_outer_products(
                        &positions,
                        grad_output,
                        group_out,
                        input,
                        length,
                        &mut sums[tap..],
                        taps,
                    );
                }
            }
        }
    }
}

/// The axes of a convolution whose taps are one: of the input, and of grad_output.
struct Pointwise {
    input: [Line; 2],
    gradient: [Line; 2],
}

impl Pointwise {
    /// Positions of an image that do not meet padding alone.
    fn positions(&self) -> usize {
        self.input[0].results * self.input[1].results
    }
}

/// How a strip lies in memory.
struct Grid {
    /// Rows of grad_output.
    rows: Range<usize>,
    /// Values from one row of the input to the next.
    input_pitch: usize,
    /// Values from one pixel of grad_output to the next.
    output_pixel: usize,
}
