//! The computation that the forward pass and the input gradient share: each result sums the products of a window of the
//! source and packed filters. The windows are read in place.

use std::ops::Range;

use rayon::prelude::*;

use super::channel_wise::ChannelWise;
use super::line::{Line, Phase};
use super::source::{LONG_PIXEL, Source};

use crate::cpu::{ChannelFilters, Panels, Rows, WindowProduct, Windows, multiply_windows, with_scratch};
use crate::ops::conv::ConvGeometry;
use crate::ops::window::Axis;

/// Number of elements of a strip of the source and of the result: 512 KiB, which fit in a core's second-level cache.
const STRIP_ELEMENTS: usize = 128 << 10;

/// The smallest number of results in a strip: with fewer, reading the filters would not pay off.
const FEWEST_RESULTS: usize = 96;

/// The smallest number of products of each value for which the source is read where it lies, while what is read next is fetched
/// beside the result: as measured, five by five taps gained, and three by three lost. With fewer, a copy in a cache is faster,
/// since the CPU reads ahead further by itself.
const FEWEST_FAR_PRODUCTS: usize = 24;

/// Number of strips per core: enough to balance the load.
const STRIPS_PER_CORE: usize = 4;

/// A pass that sums over windows.
#[derive(Clone, Copy, Debug)]
pub struct Correlation<'a> {
    geometry: &'a ConvGeometry,
    is_gradient: bool,
}

/// What the pass works on.
pub struct CorrelationOperands<'a, F> {
    /// The images whose windows are summed.
    pub source: Source<'a>,
    /// The filters, in the layout of the convolution.
    pub filters: &'a [f32],
    /// The sums.
    pub result: &'a mut [f32],
    /// What is called with whole pixels of the result that are done and still lie in a cache.
    pub finish: F,
}

impl<'a> Correlation<'a> {
    /// The forward pass: the source is the input.
    pub fn forward(geometry: &'a ConvGeometry) -> Self {
        Correlation { geometry, is_gradient: false }
    }

    /// The input gradient: the source is grad_output, and each phase of the stride is a forward pass.
    pub fn grad_input(geometry: &'a ConvGeometry) -> Self {
        Correlation { geometry, is_gradient: true }
    }

    /// Number of images in a batch.
    pub fn images(&self) -> usize {
        self.geometry.batch_size
    }

    /// Number of groups of channels.
    pub fn groups(&self) -> usize {
        self.geometry.groups
    }

    /// The lines along both axes if all results are in one phase.
    pub fn single_phase(&self) -> Option<[Line; 2]> {
        let mut phases = self.phases();
        let lines = phases.next()?.map(|phase| phase.line);
        phases.next().is_none().then_some(lines)
    }

    /// Number of channels of a group, in the source and in the result.
    pub fn group_channels(&self) -> [usize; 2] {
        let channels = [self.geometry.group_in_channels(), self.geometry.group_out_channels()];
        if self.is_gradient { [channels[1], channels[0]] } else { channels }
    }

    /// Number of values of a pixel of the result.
    fn result_pixel(&self) -> usize {
        self.geometry.groups * self.group_channels()[1]
    }

    /// Number of rows and columns of a result.
    fn results(&self) -> [usize; 2] {
        let ConvGeometry { height, width, .. } = self.geometry;
        if self.is_gradient { [height.input, width.input] } else { [height.output, width.output] }
    }

    /// The phases along both axes.
    fn phases(&self) -> impl Iterator<Item = [Phase; 2]> {
        let ConvGeometry { height, width, .. } = *self.geometry;
        let is_gradient = self.is_gradient;
        let count = move |axis: &Axis| if is_gradient { axis.stride } else { 1 };
        let phase = move |axis: &Axis, number| {
            if is_gradient { Phase::new(axis, number) } else { Phase::forward(axis) }
        };
        let pairs =
            (0..count(&height)).flat_map(move |down| (0..count(&width)).map(move |across| (down, across)));
        pairs
            .map(move |(down, across)| [phase(&height, down).trimmed(), phase(&width, across).trimmed()])
            .filter(|phases| phases.iter().all(|phase| phase.line.results > 0))
    }

    /// Whether some results are sums of no terms.
    fn has_gaps(&self) -> bool {
        let of_phase = |[height, width]: [Phase; 2]| match height.line.taps * width.line.taps {
            0 => 0,
            _ => height.line.results * width.line.results,
        };
        let [rows, columns] = self.results();
        self.phases().map(of_phase).sum::<usize>() < rows * columns
    }

    /// The packed layout of one group's filters for a phase.
    fn panels(&self, [height, width]: &[Phase; 2]) -> Panels {
        let [source, result] = self.group_channels();
        Panels::new(height.line.taps * width.line.taps * source, result)
    }

    /// How the pass runs channel by channel, if it does.
    fn channel_wise(&self) -> Option<ChannelWise> {
        ChannelWise::new(self.geometry, self.group_channels())
    }

    /// The packed layout of a phase's filters for a pass that runs channel by channel: for each row of taps, those of each
    /// source channel of a group.
    fn channel_filters(&self, [height, width]: &[Phase; 2]) -> ChannelFilters {
        let [source, _] = self.group_channels();
        ChannelFilters { taps: height.line.taps * source * width.line.taps, channels: self.result_pixel() }
    }

    /// Number of elements of a phase's packed filters.
    fn phase_elements(&self, phases: &[Phase; 2]) -> usize {
        match self.channel_wise() {
            Some(_) => self.channel_filters(phases).elements(),
            None => self.panels(phases).elements() * self.geometry.groups,
        }
    }

    /// Number of elements of all packed filters.
    pub fn packed_elements(&self) -> usize {
        self.phases().map(|phases| self.phase_elements(&phases)).sum()
    }

    /// Packs the filters, phase by phase and group by group.
    pub fn pack(&self, filters: &[f32], packed: &mut [f32]) {
        let ConvGeometry { height, width, groups, .. } = self.geometry;
        let [source_channels, result_channels] = self.group_channels();
        let group_elements = filters.len() / groups;
        let mut packed = packed;
        for phases in self.phases() {
            let panels = self.panels(&phases);
            if panels.depth == 0 {
                continue;
            }
            let (now, later) = packed.split_at_mut(self.phase_elements(&phases));
            packed = later;
            // The convolution's tap for a tap of a gradient's phase.
            let filter_tap = |tap: usize| {
                let taps = phases[1].line.taps;
                phases[0].tap(tap / taps) * width.kernel + phases[1].tap(tap % taps)
            };
            if self.channel_wise().is_some() {
                let group_in = self.geometry.group_in_channels();
                let filter_elements = height.kernel * width.kernel * group_in;
                let values = |tap: usize| {
                    let across = phases[1].line.taps;
                    let (r, channel, s) =
                        (tap / across / source_channels, tap / across % source_channels, tap % across);
                    let tap = r * across + s;
                    // Where the group's first value lies, and the distance to the next result channel's.
                    let (first, step) = match self.is_gradient {
                        true => (channel * filter_elements + filter_tap(tap) * group_in, 1),
                        false => (tap * group_in + channel, filter_elements),
                    };
                    filters.chunks_exact(group_elements).flat_map(move |group| {
                        group[first..].iter().step_by(step).take(result_channels).copied()
                    })
                };
                self.channel_filters(&phases).pack(values, now);
                continue;
            }
            let of_groups = now.par_chunks_mut(panels.elements()).zip(filters.par_chunks(group_elements));
            of_groups.for_each(|(packed, filters)| {
                packed.par_chunks_mut(panels.stride()).enumerate().for_each(|(panel, packed)| {
                    if !self.is_gradient {
                        return panels.pack_from_columns(panel, filters, packed);
                    }
                    // Depth: taps of the phase, then output channels.
                    let row = |depth: usize| {
                        let (tap, k) = (depth / source_channels, depth % source_channels);
                        let first = (k * height.kernel * width.kernel + filter_tap(tap)) * result_channels;
                        &filters[first..first + result_channels]
                    };
                    panels.pack_from_rows(panel, row, packed);
                });
            });
        }
    }

    /// Runs the pass on all cores.
    pub fn run(&self, operands: CorrelationOperands<'_, impl Fn(&mut [f32]) + Sync>) {
        let CorrelationOperands { ref source, filters, result, finish } = operands;
        with_scratch(self.packed_elements(), |packed| {
            self.pack(filters, packed);
            let packed = &*packed;
            let images = Images::new(self);
            let image_elements = images.rows * images.row_elements;
            let channels = source.channels;
            let pixel = self.channel_wise().map_or(channels, |channel_wise| channel_wise.pixel(channels));
            let rows = images.strip_rows(pixel);
            result.par_chunks_mut(image_elements).enumerate().for_each(|(image, result)| {
                let strips = result.par_chunks_mut(rows * images.row_elements).enumerate();
                strips.for_each(|(strip, result)| {
                    let first = strip * rows;
                    let rows = first..first + result.len() / images.row_elements;
                    self.run_strip(&images, source, image, rows, packed, result);
                    finish(result);
                });
            });
        });
    }

    /// Computes some rows of one image of the result.
    fn run_strip(
        &self,
        images: &Images<'_>,
        source: &Source<'_>,
        image: usize,
        rows: Range<usize>,
        packed: &[f32],
        result: &mut [f32],
    ) {
        if self.has_gaps() {
            result.fill(0.0);
        }
        let parts = || self.parts(images, rows.clone(), packed);
        match self.channel_wise() {
            Some(channel_wise) => self.run_channel_wise(channel_wise, parts, source, image, result),
            None => parts().for_each(|part| self.run_part(&part, source, image, result)),
        }
    }

    /// The parts of some rows of the result: those of the phases that have results there.
    fn parts<'p>(
        &'p self,
        images: &'p Images<'_>,
        rows: Range<usize>,
        packed: &'p [f32],
    ) -> impl Iterator<Item = StripPart<'p>> {
        let channels = self.result_pixel();
        let mut packed = packed;
        let with_taps = self.phases().filter(|phases| phases.iter().all(|phase| phase.line.taps > 0));
        with_taps.filter_map(move |phases| {
            let (filters, later) = packed.split_at(self.phase_elements(&phases));
            packed = later;
            let lines = images.lines(&phases);
            let [height, width] = &phases;
            let number = |row: usize| row.saturating_sub(height.first).div_ceil(height.every);
            let results = number(rows.start)..number(rows.end).min(lines[0].results);
            if results.is_empty() {
                return None;
            }
            let first_row = height.first + results.start * height.every - rows.start;
            let first = first_row * images.row_elements + width.first * channels;
            let steps = [height.every * images.row_elements, width.every * channels];
            Some(StripPart { phases, lines, results, first, steps, filters })
        })
    }

    /// Computes a part of a strip by products of matrices.
    fn run_part(&self, part: &StripPart<'_>, source: &Source<'_>, image: usize, result: &mut [f32]) {
        let StripPart { ref phases, lines: [down, across], ref results, first, steps, filters } = *part;
        let panels = self.panels(phases);
        let groups = self.geometry.groups;
        let [source_channels, result_channels] = self.group_channels();
        source.with_strip(image, &down, &across, results.clone(), 0, |strip, pitch| {
            let pixel = source.channels;
            // Neighbouring taps that read all channels make one run.
            let (taps, run_length) = match groups == 1 && across.dilation == 1 {
                true => (1, across.taps * source_channels),
                false => (across.taps, source_channels),
            };
            let product = Rows {
                counts: [results.len(), across.results],
                source_steps: [down.step * pitch, across.step * pixel],
                result_steps: steps,
                runs: [down.taps, taps],
                run_steps: [down.dilation * pitch, across.dilation * pixel],
                run_length,
                bounds: (!down.is_inside()).then(|| down.bounds(results.start, &(0..down.source))),
            }
            .merged();
            for group in 0..groups {
                let packed = &filters[group * panels.elements()..][..panels.elements()];
                let result = &mut result[first + group * result_channels..];
                product.multiply(&strip[group * source_channels..], &panels, packed, result);
            }
        });
    }

    /// Computes all parts of a strip channel by channel, from the same rows of the source.
    fn run_channel_wise<'p, P: Iterator<Item = StripPart<'p>>>(
        &self,
        channel_wise: ChannelWise,
        parts: impl Fn() -> P,
        source: &Source<'_>,
        image: usize,
        result: &mut [f32],
    ) {
        let Some([down, across]) = parts().next().map(|part| part.lines) else { return };
        // What all of them read together.
        let read = || parts().map(|part| part.lines[0].positions(&part.results));
        let starts = read().map(|rows| rows.start);
        let rows = starts.min().unwrap_or(0)..read().map(|rows| rows.end).max().unwrap_or(0);
        let pixel = |row: usize| (image * down.source + row) * across.source;
        let pixels = pixel(rows.start)..pixel(rows.end);
        let is_far = match self.single_phase() {
            Some([down, across]) => [
                channel_wise.products([&down, &across]) >= FEWEST_FAR_PRODUCTS,
                // Of long pixels, the CPU foresees what is written next.
                self.result_pixel() < LONG_PIXEL,
            ],
            // Pairs of phases read pixels in their order, and results of several are written in turn, all of a strip.
            None => [self.geometry.is_depthwise(), false],
        };
        channel_wise.with_planes(source, pixels, across.source, is_far[0], |values, source_steps, planes| {
            let products = parts().map(|part| {
                let StripPart { phases, lines: [down, across], results, first, steps, filters } = part;
                let windows = Windows {
                    counts: [results.len(), across.results],
                    taps: [down.taps, across.taps],
                    bounds: [down.bounds(results.start, &rows), across.bounds(0, &(0..across.source))],
                    source_steps,
                    result_steps: steps,
                    planes,
                };
                let (packed, filters) = (filters, self.channel_filters(&phases));
                WindowProduct { windows, filters, packed, first, is_far }
            });
            multiply_windows(values, products, result);
        });
    }
}

/// The results of a phase in a strip.
struct StripPart<'a> {
    phases: [Phase; 2],
    /// The lines of the phase, down and across.
    lines: [Line; 2],
    /// The rows of its results.
    results: Range<usize>,
    /// Where the first result lies in the strip, and the distances from one to the next, down and across, in elements.
    first: usize,
    steps: [usize; 2],
    /// The packed filters.
    filters: &'a [f32],
}

/// The images of a result, as they are split between cores: if each result depends on only one pixel of the source, all
/// pixels of the batch count as rows of a single image.
struct Images<'a> {
    correlation: &'a Correlation<'a>,
    is_flat: bool,
    count: usize,
    /// Number of rows of an image.
    rows: usize,
    /// Number of elements of such a row.
    row_elements: usize,
}

impl<'a> Images<'a> {
    fn new(correlation: &'a Correlation<'a>) -> Self {
        let batch_size = correlation.images();
        let [rows, columns] = correlation.results();
        let channels = correlation.result_pixel();
        let is_flat = correlation.single_phase().is_some_and(|lines| {
            let whole = [lines[0].results, lines[1].results] == [rows, columns];
            whole && lines.iter().all(|line| line.is_pointwise())
        });
        let (count, rows, columns) =
            if is_flat { (1, batch_size * rows * columns, 1) } else { (batch_size, rows, columns) };
        Images { correlation, is_flat, count, rows, row_elements: columns * channels }
    }

    fn lines(&self, phases: &[Phase; 2]) -> [Line; 2] {
        let [height, width] = phases.map(|phase| phase.line);
        if !self.is_flat {
            return [height, width];
        }
        let of = |positions| Line { source: positions, results: positions, ..height };
        [of(self.rows), of(1)]
    }

    /// Number of rows of the result in a strip.
    fn strip_rows(&self, source_channels: usize) -> usize {
        let columns = if self.is_flat { 1 } else { self.correlation.results()[1] };
        let (all, cores) = (self.count * self.rows, rayon::current_num_threads());
        let enough = FEWEST_RESULTS.div_ceil(columns).min(all.div_ceil(cores));
        let shared = all.div_ceil(STRIPS_PER_CORE * cores);
        // Numbers of elements of the result and of the source per row of the result, and of those that all rows of a
        // strip share.
        let (mut each, mut shared_elements) = (0, 0);
        for phases in
            self.correlation.phases().filter(|phases| phases.iter().all(|phase| phase.line.taps > 0))
        {
            let [height, width] = self.lines(&phases);
            let row = width.span(width.results) * source_channels;
            each = each.max((height.step * row).div_ceil(phases[0].every));
            shared_elements = shared_elements.max((height.taps - 1) * height.dilation * row);
        }
        let each = each + self.row_elements;
        let fitting = STRIP_ELEMENTS.saturating_sub(shared_elements) / each;
        let strips = (self.rows / shared.max(enough)).max(self.rows.div_ceil(fitting.max(1))).max(1);
        self.rows.div_ceil(strips)
    }
}
