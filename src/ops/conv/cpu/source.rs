//! The images that a pass reads, a strip of rows at a time, with zeros where its taps meet padding.

use std::ops::Range;

use super::line::Line;
use crate::cpu::with_scratch;
use crate::ops::op::HostBuffer;
use crate::ops::prologue::Prologue;

/// Number of values of a pixel that fills a page of memory: the CPU foresees how reading goes on in a page, but not from one
/// short pixel to the next.
pub const LONG_PIXEL: usize = 1024;

/// Images `[images, height, width, channels]`, and the prologue that is applied as they are read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Number of values in a pixel.
    pub channels: usize,
    /// The function applied to each value.
    pub prologue: Prologue,
    /// The prologue's operands.
    pub more: &'a [HostBuffer<f32>],
}

impl<'a> Source<'a> {
    /// Values that are read without a prologue.
    pub fn plain(values: &'a [f32], channels: usize) -> Self {
        Source { values, channels, prologue: Prologue::NONE, more: &[] }
    }

    /// Calls `work` with the source rows that the results `rows` of an image read, with all their columns and zeros for
    /// the padding, and with the distance from one row to the next. At least `spare` values follow the last one.
    ///
    /// Rows without padding and prologue are not copied.
    pub fn with_strip<R>(
        &self,
        image: usize,
        height: &Line,
        width: &Line,
        rows: Range<usize>,
        spare: usize,
        work: impl FnOnce(&[f32], usize) -> R,
    ) -> R {
        let images = image..image + 1;
        self.with_strips(images, height, width, rows, spare, |strip, [_, pitch]| work(strip, pitch))
    }

    /// As [`Self::with_strip`], for the same rows of several images: `work` also gets the distance from one image to
    /// the next.
    pub fn with_strips<R>(
        &self,
        images: Range<usize>,
        height: &Line,
        width: &Line,
        rows: Range<usize>,
        spare: usize,
        work: impl FnOnce(&[f32], [usize; 2]) -> R,
    ) -> R {
        let channels = self.channels;
        let source_row = width.source * channels;
        let first = height.start(rows.start);
        let span = height.span(rows.len());
        if self.prologue == Prologue::NONE && height.is_inside() && width.is_inside() {
            let row = |image: usize| image * height.source + first as usize;
            let start = row(images.start) * source_row + width.start(0) as usize * channels;
            let end = (row(images.end - 1) + span - 1) * source_row
                + (width.start(width.results - 1) as usize + width.span(1)) * channels;
            if end + spare <= self.values.len() {
                return work(&self.values[start..end + spare], [height.source * source_row, source_row]);
            }
        }
        let pitch = width.span(width.results) * channels;
        // The columns of the source that the strip contains, and the place of the first.
        let shown = width.start(0).max(0) as usize
            ..((width.start(0) + width.span(width.results) as isize).clamp(0, width.source as isize))
                as usize;
        let left = (-width.start(0)).clamp(0, width.span(width.results) as isize) as usize * channels;
        let elements = images.len() * span * pitch;
        with_scratch(elements + spare, |strip| {
            for (number, strip) in strip[..elements].chunks_exact_mut(pitch).enumerate() {
                let (image, row) = (images.start + number / span, first + (number % span) as isize);
                if !(0..height.source as isize).contains(&row) || shown.is_empty() {
                    strip.fill(0.0);
                    continue;
                }
                let start = (image * height.source + row as usize) * source_row;
                let part = start + shown.start * channels..start + shown.end * channels;
                let right = left + part.len();
                strip[..left].fill(0.0);
                self.prologue.copy_on_cpu(self.values, part, self.more, &mut strip[left..right]);
                strip[right..].fill(0.0);
            }
            strip[elements..].fill(0.0);
            work(strip, [span * pitch, pitch])
        })
    }

    /// The values of those of these pixels, numbered through all images, that come from pixel `first` on.
    pub fn values_from(&self, pixels: Range<usize>, first: usize) -> &'a [f32] {
        &self.values[pixels.start.max(first).min(pixels.end) * self.channels..pixels.end * self.channels]
    }

    /// Calls `work` with some channels of the pixels `pixels`, numbered through all images, and with the distance from
    /// one pixel to the next. At least `spare` values follow the last one.
    ///
    /// Without a prologue, nothing is copied.
    pub fn with_pixels<R>(
        &self,
        pixels: Range<usize>,
        channels: Range<usize>,
        spare: usize,
        work: impl FnOnce(&[f32], usize) -> R,
    ) -> R {
        let first = |pixel: usize| pixel * self.channels + channels.start;
        let end = pixels.end * self.channels + spare;
        if self.prologue == Prologue::NONE && end <= self.values.len() {
            return work(&self.values[first(pixels.start)..end], self.channels);
        }
        let elements = pixels.len() * channels.len();
        with_scratch(elements + spare, |copy| {
            self.copy_pixels(first(pixels.start), self.channels, channels.len(), &mut copy[..elements]);
            copy[elements..].fill(0.0);
            work(copy, channels.len())
        })
    }

    /// Calls `work` with whole pixels, numbered through all images, for kernels that do not read them in their order. At least
    /// `spare` values follow the last one.
    ///
    /// Pixels that are not long are copied into a cache, unless they `may_be_far`: because `work` has what it reads next fetched,
    /// or reads in the order of memory after all.
    pub fn with_whole_pixels<R>(
        &self,
        pixels: Range<usize>,
        spare: usize,
        may_be_far: bool,
        work: impl FnOnce(&[f32]) -> R,
    ) -> R {
        let channels = self.channels;
        if may_be_far || channels >= LONG_PIXEL {
            return self.with_pixels(pixels, 0..channels, spare, |pixels, _| work(pixels));
        }
        let elements = pixels.len() * channels;
        with_scratch(elements + spare, |copy| {
            self.copy_pixels(pixels.start * channels, channels, channels, &mut copy[..elements]);
            copy[elements..].fill(0.0);
            work(copy)
        })
    }

    /// Calls `work` with some channels of the pixels that the results `numbers` of a pass with one tap read, without
    /// gaps between them. Results are numbered through all images. At least `spare` values follow the last one.
    ///
    /// Pixels without gaps and prologue are not copied.
    pub fn with_gathered<R>(
        &self,
        numbers: Range<usize>,
        height: &Line,
        width: &Line,
        channels: Range<usize>,
        spare: usize,
        work: impl FnOnce(&[f32]) -> R,
    ) -> R {
        let end = numbers.end * self.channels + spare;
        let is_whole = channels.len() == self.channels && height.is_pointwise() && width.is_pointwise();
        if is_whole && self.prologue == Prologue::NONE && end <= self.values.len() {
            return work(&self.values[numbers.start * self.channels..end]);
        }
        let elements = numbers.len() * channels.len();
        with_scratch(elements + spare, |copy| {
            let (mut number, mut rest) = (numbers.start, &mut copy[..elements]);
            while number < numbers.end {
                let (row, column) = (number / width.results, number % width.results);
                let (image, row) = (row / height.results, row % height.results);
                let row = image * height.source + height.start(row) as usize;
                let pixel = row * width.source + width.start(column) as usize;
                let count = (width.results - column).min(numbers.end - number);
                let (copy, later) = rest.split_at_mut(count * channels.len());
                let first = pixel * self.channels + channels.start;
                self.copy_pixels(first, width.step * self.channels, channels.len(), copy);
                (number, rest) = (number + count, later);
            }
            copy[elements..].fill(0.0);
            work(copy)
        })
    }

    /// Copies `values` values of each pixel: those of the first start at `first`, the others are `step` apart.
    fn copy_pixels(&self, first: usize, step: usize, values: usize, into: &mut [f32]) {
        // Contiguous pixels are one copy.
        let together = if step == values { into.len().max(1) } else { values };
        for (number, into) in into.chunks_exact_mut(together).enumerate() {
            let start = first + number * step;
            self.prologue.copy_on_cpu(self.values, start..start + into.len(), self.more, into);
        }
    }
}
