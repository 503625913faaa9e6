//! The filter gradient: sums of outer products of grad_output's pixels and the input's windows, which are read in
//! place.

use std::ops::Range;

use rayon::prelude::*;

use super::channel_wise::{ChannelWise, spare_behind};
use super::line::Line;
use super::source::Source;
use crate::cpu::{Bounds, Positions, Windows, add_in_order, add_outer_products, lanes, spare, with_scratch};
use crate::ops::conv::ConvGeometry;
use crate::ops::window::Axis;

/// The smallest number of positions in a strip: with fewer, loading and storing the sums would not pay off.
const FEWEST_POSITIONS: usize = 196;

/// Number of positions in a strip of a pointwise convolution.
const POINTWISE_POSITIONS: usize = 256;

/// Number of elements of a strip of the input: 512 KiB, which fit in a core's second-level cache.
const STRIP_ELEMENTS: usize = 128 << 10;

/// The smallest number of products of each value of the input for which both factors are read where they lie, while those of the
/// next strip are fetched: as measured, three by three taps gained, and lost at stride 2. With fewer, a copy in a cache is faster,
/// since the CPU reads ahead further by itself.
const FEWEST_FAR_PRODUCTS: usize = 9;

/// The largest number of channels of both factors together that are read where they lie: in a training step, whose tensors all
/// start at the same place of a page, a copy is faster for longer pixels.
const MOST_FAR_CHANNELS: usize = 128;

/// The smallest number of strips in a part of the positions, if there are that many: each part has its own sums, which
/// have to be cleared and added.
const FEWEST_STRIPS: usize = 4;

/// The largest number of parts of the positions, and the number of pieces into which blocks of channels split fewer
/// parts. Neither depends on the number of cores, so that the answer does not either.
const MOST_PARTS: usize = 16;
const PIECES: usize = 8;

/// Number of pieces of work up to which a part may be a single strip.
const FEWEST_PIECES: usize = 4;

/// The smallest number of output channels in a block, since each block reads the whole input, and the largest, so that
/// a strip of them stays in a core's second-level cache.
const FEWEST_FILTERS: usize = 48;
const MOST_FILTERS: usize = 256;

/// The largest number of elements of all partial sums together.
const PARTIAL_SUMS_ELEMENTS: usize = 8 << 20;

/// The filter gradient of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct FilterSums<'a> {
    geometry: &'a ConvGeometry,
}

/// The operands of the pass.
pub struct FilterOperands<'a> {
    /// The input of the convolution.
    pub input: &'a [f32],
    /// The gradient of its output, with its prologue.
    pub grad_output: Source<'a>,
    /// The sums.
    pub grad_filters: &'a mut [f32],
}

/// The strips of a part of the positions, and the output channels of a block.
struct Piece {
    strips: Range<usize>,
    channels: Range<usize>,
}

impl<'a> FilterSums<'a> {
    /// The gradient for a convolution of these sizes.
    pub fn new(geometry: &'a ConvGeometry) -> Self {
        FilterSums { geometry }
    }

    /// The lines along both axes of a convolution with a single tap, without the results that lie in the padding;
    /// strips then extend over all images. `None` for other convolutions.
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

    /// The number of runs of taps that lie side by side in a row of the input, and the number of values in each run.
    fn runs(&self) -> [usize; 2] {
        let ConvGeometry { width, groups, .. } = self.geometry;
        let group_in = self.geometry.group_in_channels();
        if *groups == 1 && width.dilation == 1 {
            [1, width.kernel * group_in]
        } else {
            [width.kernel, group_in]
        }
    }

    /// How the pass runs channel by channel, if it does.
    fn channel_wise(&self) -> Option<ChannelWise> {
        let channels = [self.geometry.group_in_channels(), self.geometry.group_out_channels()];
        ChannelWise::new(self.geometry, channels)
    }

    /// Whether both factors are read where they lie, in memory, while those of the next strip are fetched.
    fn is_far(&self) -> bool {
        let lines = [&self.geometry.height, &self.geometry.width].map(Line::forward);
        let products = |channel_wise: ChannelWise| channel_wise.products(lines.each_ref());
        self.geometry.in_channels + self.geometry.out_channels <= MOST_FAR_CHANNELS
            && self.channel_wise().map_or(0, products) >= FEWEST_FAR_PRODUCTS
    }

    /// Whether vectors hold output channels, rather than neighbours in the input, because that leaves fewer lanes
    /// empty.
    fn is_across_filters(&self) -> bool {
        if self.channel_wise().is_some() {
            return true;
        }
        let group_out = self.geometry.group_out_channels();
        let [runs, length] = self.runs();
        let vectors = |values: usize| values.div_ceil(lanes());
        runs * length * vectors(group_out) < group_out * runs * vectors(length)
    }

    /// How the positions are split into strips if there are several taps.
    fn strips(&self) -> PositionStrips {
        let ConvGeometry { batch_size, height, width, in_channels, .. } = self.geometry;
        let pixel = self.channel_wise().map_or(*in_channels, |channel_wise| channel_wise.pixel(*in_channels));
        let row = Line::forward(width).span(width.output) * pixel;
        let shared = (height.kernel - 1) * height.dilation * row;
        let fitting = STRIP_ELEMENTS.saturating_sub(shared) / (height.stride * row);
        let rows = FEWEST_POSITIONS.div_ceil(width.output).min(fitting).clamp(1, height.output);
        let down = height.output.div_ceil(rows);
        let images = match down {
            1 => {
                let fitting = STRIP_ELEMENTS / (Line::forward(height).span(height.output) * row);
                FEWEST_POSITIONS.div_ceil(self.geometry.positions()).min(fitting).clamp(1, *batch_size)
            }
            _ => 1,
        };
        let count = batch_size.div_ceil(images);
        PositionStrips {
            images: batch_size.div_ceil(count),
            rows: height.output.div_ceil(down),
            down,
            count: count * down,
        }
    }

    /// The number of parts of the positions, of which there are `strips` strips, and the number of blocks of the
    /// channels. One set of partial sums has `elements` elements. Both are powers of two, so that the pieces divide
    /// evenly on most machines.
    fn pieces(&self, strips: usize, elements: usize) -> [usize; 2] {
        let power_of_two = |most: usize| 1 << most.max(1).ilog2();
        let fitting = PARTIAL_SUMS_ELEMENTS / elements;
        let parts = power_of_two((strips / FEWEST_STRIPS).min(fitting).min(MOST_PARTS));
        let channels = self.geometry.out_channels;
        let blocks = match self.is_across_filters() || self.geometry.groups > 1 {
            true => 1,
            false => {
                power_of_two((channels / FEWEST_FILTERS).min((PIECES / parts).max(channels / MOST_FILTERS)))
            }
        };
        [parts.max(power_of_two(strips.min(fitting).min(FEWEST_PIECES / blocks))), blocks]
    }

    /// Runs the pass on all cores.
    pub fn run(&self, operands: FilterOperands<'_>) {
        let FilterOperands { input, ref grad_output, grad_filters } = operands;
        let ConvGeometry { batch_size, out_channels, .. } = *self.geometry;
        let (elements, taps) = (grad_filters.len(), self.geometry.taps());
        let pointwise = self.pointwise();
        let strips = match &pointwise {
            Some(pointwise) => (batch_size * pointwise.positions()).div_ceil(POINTWISE_POSITIONS),
            None => self.strips().count,
        };
        if strips == 0 {
            return grad_filters.fill(0.0);
        }
        let across_filters = self.is_across_filters();
        let [parts, blocks] = self.pieces(strips, elements);
        let block = out_channels.div_ceil(blocks);
        let work = |sums: &mut [f32]| {
            sums.par_chunks_mut(elements).enumerate().for_each(|(part, sums)| {
                sums.par_chunks_mut(block * taps).enumerate().for_each(|(number, sums)| {
                    let channels = number * block..number * block + sums.len() / taps;
                    let first = |part: usize| part * strips / parts;
                    let piece = Piece { strips: first(part)..first(part + 1), channels };
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
            with_scratch(elements, |sum| {
                add_in_order(sum, sums);
                let channel_wise = self.channel_wise();
                grad_filters.par_chunks_mut(taps).with_min_len(64).enumerate().for_each(
                    |(k, grad_filter)| {
                        self.gather(k, channel_wise.as_ref(), sum, grad_filter);
                    },
                );
            });
        });
    }

    /// Gathers the sums of a filter if vectors hold channels of the output.
    fn gather(&self, k: usize, channel_wise: Option<&ChannelWise>, sums: &[f32], grad_filter: &mut [f32]) {
        let ConvGeometry { out_channels, groups, width, .. } = *self.geometry;
        let (group_in, taps) = (self.geometry.group_in_channels(), grad_filter.len());
        for (tap, gradients) in grad_filter.chunks_exact_mut(group_in).enumerate() {
            let (r, s) = (tap / width.kernel, tap % width.kernel);
            // Where the sum of the first channel lies, and the distance to the next.
            let (first, step) = match channel_wise {
                // [r, channel of the group's output, s, input channels]
                Some(ChannelWise::InPlace(size)) => {
                    (((r * size + k % size) * width.kernel + s) * out_channels + k / size * size, 1)
                }
                // [r, channel of the group's input, s, output channels]
                Some(ChannelWise::Spread(_)) => {
                    ((r * group_in * width.kernel + s) * out_channels + k, width.kernel * out_channels)
                }
                // [groups, taps, output channels of a group]
                None => {
                    let together = out_channels / groups;
                    ((k / together * taps + tap * group_in) * together + k % together, together)
                }
            };
            for (gradient, sum) in gradients.iter_mut().zip(sums[first..].iter().step_by(step)) {
                *gradient = *sum;
            }
        }
    }

    /// Sums one piece, strip by strip.
    fn run_piece(
        &self,
        piece: &Piece,
        across_filters: bool,
        input: &[f32],
        grad_output: &Source<'_>,
        sums: &mut [f32],
    ) {
        let ConvGeometry { batch_size, height, width, in_channels, .. } = self.geometry;
        let (down, across) = (Line::forward(height), Line::forward(width));
        let strips = self.strips();
        let input = Source::plain(input, *in_channels);
        let strips = piece.strips.clone().map(|strip| {
            let first = strip / strips.down * strips.images;
            let images = first..(first + strips.images).min(*batch_size);
            let first = strip % strips.down * strips.rows;
            (images, first..height.output.min(first + strips.rows))
        });
        if let Some(channel_wise) = self.channel_wise() {
            let of_images = |(images, rows): (Range<usize>, Range<usize>)| {
                images.map(move |image| ImageRows { image, rows: rows.clone() })
            };
            let mut parts = strips.flat_map(of_images).peekable();
            while let Some(rows) = parts.next() {
                self.add_channel_wise(channel_wise, &rows, parts.peek(), &input, grad_output, sums);
            }
            return;
        }
        for (images, rows) in strips {
            input.with_strips(images.clone(), &down, &across, rows.clone(), spare(), |input, input_steps| {
                let pixel = |image: usize, row: usize| (image * height.output + row) * width.output;
                let pixels = pixel(images.start, rows.start)..pixel(images.end - 1, rows.end);
                let channels = piece.channels.clone();
                grad_output.with_pixels(pixels, channels, spare(), |grad_output, output_pixel| {
                    let grid = Grid { images: images.len(), rows: rows.clone(), input_steps, output_pixel };
                    self.add_strip(&grid, across_filters, input, grad_output, sums);
                });
            });
        }
    }

    /// As [`Self::run_piece`], for a convolution with a single tap.
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
        let out_channels = piece.channels.len();
        for strip in piece.strips.clone() {
            let first = strip * POINTWISE_POSITIONS;
            let numbers = first..(batch_size * pointwise.positions()).min(first + POINTWISE_POSITIONS);
            let counts = [1, 1, numbers.len()];
            let [height, width] = &pointwise.input;
            input.with_gathered(numbers.clone(), height, width, 0..in_channels, spare(), |input| {
                let [height, width] = &pointwise.gradient;
                let channels = piece.channels.clone();
                grad_output.with_gathered(numbers, height, width, channels, spare(), |grad_output| {
                    let (input_steps, output_steps) = ([0, 0, in_channels], [0, 0, out_channels]);
                    let (left, right, left_steps, right_steps) = match across_filters {
                        true => (input, grad_output, input_steps, output_steps),
                        false => (grad_output, input, output_steps, input_steps),
                    };
                    let positions = Positions { counts, left_steps, right_steps };
                    let (rows, columns) = (left_steps[2], right_steps[2]);
                    add_outer_products(&positions, left, rows, right, columns, sums, columns);
                });
            });
        }
    }

    /// Adds the products of some rows of an image to the sums, channel by channel; what the `next` ones need is fetched meanwhile,
    /// if it is far.
    fn add_channel_wise(
        &self,
        channel_wise: ChannelWise,
        rows: &ImageRows,
        next: Option<&ImageRows>,
        input: &Source<'_>,
        grad_output: &Source<'_>,
        sums: &mut [f32],
    ) {
        let ConvGeometry { height, width, out_channels, .. } = self.geometry;
        let (down, across) = (Line::forward(height), Line::forward(width));
        let [input_pixels, output_pixels] = rows.pixels(self.geometry);
        let is_far = self.is_far();
        let ahead = next.filter(|_| is_far).map(|next| {
            let [next_input, next_output] = next.pixels(self.geometry);
            let grad_output = grad_output.values_from(next_output, output_pixels.end);
            [input.values_from(next_input, input_pixels.end), grad_output]
        });
        let rows = &rows.rows;
        let read = down.positions(rows);
        channel_wise.with_planes(input, input_pixels, width.input, is_far, |input, source_steps, planes| {
            let windows = Windows {
                counts: [rows.len(), width.output],
                taps: [height.kernel, width.kernel],
                bounds: [down.bounds(rows.start, &read), across.bounds(0, &(0..width.input))],
                source_steps,
                result_steps: [width.output * out_channels, *out_channels],
                planes,
            };
            let spare = spare_behind(*out_channels);
            grad_output.with_whole_pixels(output_pixels, spare, is_far, |grad_output| {
                windows.add_products(input, grad_output, *out_channels, ahead, sums);
            });
        });
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
        let input_steps = grid.input_positions(self.geometry, in_channels);
        let output_steps = grid.output_positions(self.geometry);
        let rows_of = |r: usize| grid.rows_of(self.geometry, r, input_steps, output_steps);
        for (group, sums) in sums.chunks_exact_mut(group_out * taps).enumerate() {
            let grad_output = &grad_output[group * group_out..];
            for (r, s) in (0..height.kernel).flat_map(|r| (0..runs).map(move |s| (r, s))) {
                let (counts, input_start, output_start) = rows_of(r);
                if counts[1] == 0 {
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

impl Grid {
    /// Distances between images, rows and columns of the input that neighbouring outputs read, in elements.
    fn input_positions(&self, geometry: &ConvGeometry, pixel: usize) -> [usize; 3] {
        let [image, pitch] = self.input_steps;
        [image, geometry.height.stride * pitch, geometry.width.stride * pixel]
    }

    /// Distances between images, rows and columns of grad_output, in elements.
    fn output_positions(&self, geometry: &ConvGeometry) -> [usize; 3] {
        [geometry.positions(), geometry.width.output, 1].map(|pixels| pixels * self.output_pixel)
    }

    /// The numbers of images, rows and columns of outputs whose tap `r` down does not lie in the padding, and where they
    /// begin, in the input and in grad_output.
    fn rows_of(
        &self,
        geometry: &ConvGeometry,
        r: usize,
        input_steps: [usize; 3],
        output_steps: [usize; 3],
    ) -> ([usize; 3], usize, usize) {
        let down = Line::forward(&geometry.height);
        let first = down.start(self.rows.start) + (r * down.dilation) as isize;
        let bounds = Bounds { first, row_step: 0, run_step: down.step, positions: down.source };
        let inside = bounds.runs_inside(0, self.rows.len());
        let input = r * down.dilation * self.input_steps[1] + inside.start * input_steps[1];
        ([self.images, inside.len(), geometry.width.output], input, inside.start * output_steps[1])
    }
}

/// Some rows of an image of grad_output.
struct ImageRows {
    image: usize,
    rows: Range<usize>,
}

impl ImageRows {
    /// The pixels of the input that they read, and their own, numbered through all images.
    fn pixels(&self, ConvGeometry { height, width, .. }: &ConvGeometry) -> [Range<usize>; 2] {
        let pixels = |rows: Range<usize>, height: usize, width: usize| {
            let first = |row: usize| (self.image * height + row) * width;
            first(rows.start)..first(rows.end)
        };
        let read = Line::forward(height).positions(&self.rows);
        [pixels(read, height.input, width.input), pixels(self.rows.clone(), height.output, width.output)]
    }
}

/// The axes of a convolution with a single tap: of the input, and of grad_output.
struct Pointwise {
    input: [Line; 2],
    gradient: [Line; 2],
}

impl Pointwise {
    /// Number of positions of an image that do not lie in the padding.
    fn positions(&self) -> usize {
        self.input[0].results * self.input[1].results
    }
}

/// How positions are split into strips: rows of an image, or whole images.
struct PositionStrips {
    /// Number of images in a strip.
    images: usize,
    /// Number of rows in a strip.
    rows: usize,
    /// Number of strips down an image.
    down: usize,
    /// Number of all strips.
    count: usize,
}

/// The layout of a strip in memory.
struct Grid {
    images: usize,
    /// Rows of grad_output.
    rows: Range<usize>,
    /// Distances from one image of the input to the next, and from one row to the next, in elements.
    input_steps: [usize; 2],
    /// Distance from one pixel of grad_output to the next, in elements.
    output_pixel: usize,
}
