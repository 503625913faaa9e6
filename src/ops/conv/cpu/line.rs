//! One axis of a pass on the CPU: results, and the taps through which each of them reads a source.

use std::ops::Range;

use crate::cpu::Bounds;
use crate::ops::conv::phases::Phases;
use crate::ops::window::Axis;

/// One axis of a pass: result `i` reads, at tap `t`, the source position `i*step + t*dilation - before`; values outside
/// the source are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Number of positions of the source.
    pub source: usize,
    /// Number of results.
    pub results: usize,
    /// Distance from one result to the next, in source positions.
    pub step: usize,
    /// Number of taps of a result.
    pub taps: usize,
    /// Distance from one tap to the next, in source positions.
    pub dilation: usize,
    /// Distance of the first result's first tap before the start of the source; negative if it is after the start.
    pub before: isize,
}

impl Line {
    /// The forward pass along an axis.
    pub fn forward(axis: &Axis) -> Self {
        Line {
            source: axis.input,
            results: axis.output,
            step: axis.stride,
            taps: axis.kernel,
            dilation: axis.dilation,
            before: axis.padding_before as isize,
        }
    }

    /// The source position under the first tap of a result.
    pub fn start(&self, result: usize) -> isize {
        (result * self.step) as isize - self.before
    }

    /// Number of source positions that `results` neighbouring results span, including those between taps and in the
    /// padding.
    pub fn span(&self, results: usize) -> usize {
        (results - 1) * self.step + (self.taps - 1) * self.dilation + 1
    }

    /// The positions inside the source that some results span.
    pub fn positions(&self, results: &Range<usize>) -> Range<usize> {
        let inside = |position: isize| position.clamp(0, self.source as isize) as usize;
        inside(self.start(results.start))..inside(self.start(results.end - 1) + self.span(1) as isize)
    }

    /// Where the taps of the results from `result` on lie among some positions of the source, outside of which there is
    /// nothing else that they read.
    pub fn bounds(&self, result: usize, positions: &Range<usize>) -> Bounds {
        Bounds {
            first: self.start(result) - positions.start as isize,
            row_step: self.step,
            run_step: self.dilation,
            positions: positions.len(),
        }
    }

    /// Whether no tap of any result lies outside the source.
    pub fn is_inside(&self) -> bool {
        self.before <= 0 && self.start(self.results - 1) + self.span(1) as isize <= self.source as isize
    }

    /// With a single tap, the line of only those results that read the source, and the number of the first: all others
    /// are zero. With more taps, the whole line.
    pub fn trimmed(self) -> (Self, usize) {
        if self.taps != 1 {
            return (self, 0);
        }
        let position = |result: isize| (result.max(0) as usize).div_ceil(self.step).min(self.results);
        let first = position(self.before);
        let end = position(self.source as isize + self.before).max(first);
        let before = self.before - (first * self.step) as isize;
        (Line { results: end - first, before, ..self }, first)
    }

    /// Whether result `i` depends only on source position `i`.
    pub fn is_pointwise(&self) -> bool {
        let Line { source, results, step, taps, before, .. } = *self;
        (step, taps, before) == (1, 1, 0) && source == results
    }
}

/// Input positions `first`, `first + every`, ... of a convolution, whose gradients read the same taps of the filters.
/// From one of them to the next, the stride is 1, so that each phase is a forward pass with grad_output as the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The forward pass.
    pub line: Line,
    /// The first input position.
    pub first: usize,
    /// Distance from one input position to the next: the convolution's stride, or 1 if there is only one.
    pub every: usize,
    first_tap: usize,
    tap_step: usize,
}

impl Phase {
    /// The phase of the input positions that equal `number` modulo the stride. It has no results if the input ends
    /// before, and no taps if the kernel has none for it.
    ///
    /// Input position `i*stride + number` meets tap `r` of output `p` where
    /// `p*stride = i*stride + number + padding - r*dilation`.
    pub fn new(axis: &Axis, number: usize) -> Self {
        let Axis { stride, dilation, .. } = *axis;
        let phases = Phases::new(axis);
        let tap_step = phases.tap_step;
        let at = number + axis.padding_before;
        let first_tap = phases.first_tap(at).filter(|&tap| tap < axis.kernel);
        let taps = first_tap.map_or(0, |first| (axis.kernel - first).div_ceil(tap_step));
        let first_tap = first_tap.unwrap_or(0);
        // Taps are read from the last to the first, so that source positions increase.
        let base = (at as isize - (first_tap * dilation) as isize).div_euclid(stride as isize);
        let before = (taps.saturating_sub(1) * phases.tap_dilation) as isize - base;
        let line = Line {
            source: axis.output,
            results: axis.input.saturating_sub(number).div_ceil(stride),
            step: 1,
            taps,
            dilation: phases.tap_dilation,
            before,
        };
        Phase { line, first: number, every: stride, first_tap, tap_step }
    }

    /// The forward pass along an axis, as the one phase of its outputs.
    pub fn forward(axis: &Axis) -> Self {
        Phase { line: Line::forward(axis), first: 0, every: 1, first_tap: 0, tap_step: 1 }
    }

    /// The same phase without the results that are zero; see [`Line::trimmed`].
    ///
    /// `every` becomes 1 if only one result is left: code that treats the results of several images as rows of a single
    /// one would otherwise skip some of them.
    pub fn trimmed(self) -> Self {
        let (line, skipped) = self.line.trimmed();
        let every = if line.results <= 1 { 1 } else { self.every };
        Phase { line, first: self.first + skipped * self.every, every, ..self }
    }

    /// The convolution's tap at position `tap` of the line.
    pub fn tap(&self, tap: usize) -> usize {
        self.first_tap + (self.line.taps - 1 - tap) * self.tap_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::{Padding, WindowOptions};

    #[test]
    fn results_that_meet_padding_alone_are_left_out() {
        for (source, results, step, before) in
            [(7, 7, 2, 3), (5, 9, 1, 2), (4, 4, 1, 0), (3, 2, 5, 4), (2, 1, 1, 3)]
        {
            let line = Line { source, results, step, taps: 1, dilation: 1, before };
            let (trimmed, first) = line.trimmed();
            let inside = (0..results).filter(|&result| (0..source as isize).contains(&line.start(result)));
            assert_eq!((first..first + trimmed.results).collect::<Vec<_>>(), inside.collect::<Vec<_>>());
            assert!((0..trimmed.results).all(|result| trimmed.start(result) == line.start(first + result)));
        }
    }

    #[test]
    fn the_phases_hold_every_pair_of_input_and_output_once() {
        for (input, kernel, stride, dilation, padding) in [
            (9, 3, 1, 1, 1),
            (10, 3, 2, 1, 0),
            (11, 4, 3, 2, 5),
            (7, 2, 4, 1, 1),
            (12, 3, 2, 2, 2),
            (15, 5, 4, 6, 9),
        ] {
            let window = WindowOptions {
                stride: [stride; 2],
                dilation: [dilation; 2],
                padding: Padding::Symmetric([padding; 2]),
                ..WindowOptions::new([kernel; 2])
            };
            let [axis, _] = Axis::pair("test", [input; 2], &window).unwrap();
            let mut found = Vec::new();
            for number in 0..stride {
                let phase = Phase::new(&axis, number);
                for result in 0..phase.line.results {
                    for tap in 0..phase.line.taps {
                        let source = phase.line.start(result) + (tap * phase.line.dilation) as isize;
                        if (0..axis.output as isize).contains(&source) {
                            let input = phase.first + result * phase.every;
                            found.push((source as usize, phase.tap(tap), input));
                        }
                    }
                }
            }
            let mut expected = Vec::new();
            for output in 0..axis.output {
                for tap in 0..kernel {
                    expected.extend(axis.input_at(output, tap).map(|input| (output, tap, input)));
                }
            }
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{axis:?}");
        }
    }
}
