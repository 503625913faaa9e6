//! One axis of a sliding window: the arithmetic that convolution and pooling share.

use std::ops::Range;

use crate::{Error, Result};

/// How a window moves along height and width, as options of a layer and of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// Number of taps of the window: [height, width].
    pub kernel_size: [usize; 2],
    /// Distance from one window to the next, in positions: [height, width].
    pub stride: [usize; 2],
    /// Distance from one tap to the next, in positions, 1 for adjacent taps: [height, width].
    pub dilation: [usize; 2],
    /// Padding around the input.
    pub padding: Padding,
}

impl WindowOptions {
    /// A window of `kernel_size` that moves by one, without padding or dilation.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        WindowOptions { kernel_size, stride: [1, 1], dilation: [1, 1], padding: Padding::Valid }
    }
}

/// Padding around the input of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// No padding.
    Valid,
    /// As much as is needed for `output = ceil(input / stride)`; if that is odd, the extra position is at the bottom or
    /// right.
    Same,
    /// The same above and below, and the same left and right: [height, width].
    Symmetric([usize; 2]),
    /// Each side separately.
    Sides {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns on the left.
        left: usize,
        /// Columns on the right.
        right: usize,
    },
}

impl Padding {
    /// Number of positions before and after the input along `axis` (0 is height); `None` for `Same`.
    fn sides(self, axis: usize) -> Option<[usize; 2]> {
        match self {
            Padding::Valid => Some([0, 0]),
            Padding::Same => None,
            Padding::Symmetric(sizes) => Some([sizes[axis]; 2]),
            Padding::Sides { top, bottom, left, right } => Some([[top, bottom], [left, right]][axis]),
        }
    }
}

/// A window's arithmetic along one axis, checked once: position `o` of the output reads, at tap `t`, the input position
/// `o*stride - padding_before + t*dilation`, if that is inside the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Number of positions of the input.
    pub input: usize,
    /// Number of positions of the output.
    pub output: usize,
    /// Number of taps of the window.
    pub kernel: usize,
    /// Distance from one window to the next, in input positions.
    pub stride: usize,
    /// Distance from one tap to the next, in input positions.
    pub dilation: usize,
    /// Number of positions added before the input.
    pub padding_before: usize,
    /// Number of positions added after the input.
    pub padding_after: usize,
}

impl Axis {
    /// The axes of a window over an input of `input_size`, [height, width].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size of zero or above 2^31, and for a window larger than its padded input.
    pub fn pair(operation: &str, input_size: [usize; 2], options: &WindowOptions) -> Result<[Axis; 2]> {
        let axis = |axis| Self::new(operation, axis, input_size[axis], options, false);
        Ok([axis(0)?, axis(1)?])
    }

    /// The same in PyTorch's `ceil_mode`: a rest of the padded input that is too short for another window gets one all
    /// the same, which hangs over the end, unless it would start behind the input.
    ///
    /// # Errors
    /// Those of [`Axis::pair`]; a window may be larger than its padded input, by less than the stride.
    pub fn pair_in_ceil_mode(
        operation: &str,
        input_size: [usize; 2],
        options: &WindowOptions,
    ) -> Result<[Axis; 2]> {
        let axis = |axis| Self::new(operation, axis, input_size[axis], options, true);
        Ok([axis(0)?, axis(1)?])
    }

    fn new(
        operation: &str,
        axis: usize,
        input: usize,
        options: &WindowOptions,
        ceil_mode: bool,
    ) -> Result<Axis> {
        const LIMIT: usize = i32::MAX as usize;
        let word = ["height", "width"][axis];
        let (kernel, stride, dilation) =
            (options.kernel_size[axis], options.stride[axis], options.dilation[axis]);
        let sizes = [("input", input), ("kernel", kernel), ("stride", stride), ("dilation", dilation)];
        for (what, size) in sizes {
            if !(1..=LIMIT).contains(&size) {
                return Err(Error::invalid(operation, format!("{what} {word} from 1 to {LIMIT}"), size));
            }
        }
        // Both factors are below 2^31, so nothing here can overflow 64 bits.
        let span = (kernel as u64 - 1) * dilation as u64 + 1;
        let [before, after] = options.padding.sides(axis).unwrap_or_else(|| {
            let output = input.div_ceil(stride) as u64;
            let total = ((output - 1) * stride as u64 + span).saturating_sub(input as u64) as usize;
            [total / 2, total - total / 2]
        });
        let padded = (input as u64).saturating_add(before as u64).saturating_add(after as u64);
        if padded > LIMIT as u64 {
            return Err(Error::invalid(
                operation,
                format!("a padded input {word} of at most {LIMIT}"),
                padded,
            ));
        }
        let beyond = if ceil_mode { stride as u64 - 1 } else { 0 };
        let Some(rest) = (padded + beyond).checked_sub(span) else {
            let room = if ceil_mode { format!(" and {beyond} beyond it") } else { String::new() };
            let expected = format!("a kernel that spans at most the padded input {word} of {padded}{room}");
            return Err(Error::invalid(
                operation,
                expected,
                format!("kernel {kernel}, dilation {dilation}: {span}"),
            ));
        };
        let fitting = (rest / stride as u64) as usize + 1;
        let output = if ceil_mode { fitting.min((input + before).div_ceil(stride)) } else { fitting };
        Ok(Axis { input, output, kernel, stride, dilation, padding_before: before, padding_after: after })
    }

    /// The input position under tap `tap` of output position `position`; `None` in the padding.
    #[inline]
    pub fn input_at(&self, position: usize, tap: usize) -> Option<usize> {
        (position * self.stride + tap * self.dilation)
            .checked_sub(self.padding_before)
            .filter(|&input| input < self.input)
    }

    /// The output positions whose windows contain input position `input`, each with the tap at that position.
    pub fn meetings(&self, input: usize) -> impl Iterator<Item = (usize, usize)> {
        let place = input + self.padding_before;
        // The last tap belongs to the first window.
        (0..self.kernel).rev().filter_map(move |tap| {
            let start = place.checked_sub(tap * self.dilation)?;
            let position = start / self.stride;
            (start.is_multiple_of(self.stride) && position < self.output).then_some((position, tap))
        })
    }

    /// The input's positions, counted from where the padding begins.
    pub fn inside(&self) -> Range<usize> {
        self.padding_before..self.padding_before + self.input
    }

    /// The positions of the padded input, counted from where it begins.
    pub fn padded(&self) -> Range<usize> {
        0..self.padding_before + self.input + self.padding_after
    }

    /// The taps that are inside the input at output position `position`; the others are in the padding.
    pub fn taps_inside(&self, position: usize) -> Range<usize> {
        self.taps_within(self.inside(), position)
    }

    /// The taps at output position `position` that lie within `places`, which are counted from where the padding begins.
    pub fn taps_within(&self, places: Range<usize>, position: usize) -> Range<usize> {
        let start = position * self.stride;
        let tap = |place: usize| place.saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        let first = tap(places.start);
        first..tap(places.end).max(first)
    }

    /// The first output position whose taps are all in the padding, if there is one.
    pub fn first_in_padding(&self) -> Option<usize> {
        let Axis { input, output, kernel, stride, dilation, padding_before, .. } = *self;
        // The first window ends before the input starts.
        if (kernel - 1) * dilation < padding_before {
            return Some(0);
        }
        // Windows that start before the input have taps after the leading padding; the first of them is at the window's
        // start modulo the dilation, which may be past the end of the input.
        let before = padding_before.div_ceil(stride).min(output);
        let stepped_over = (input < dilation)
            .then(|| first_residue(stride, dilation, padding_before, input))
            .flatten()
            .filter(|&position| position < before);
        // Of the other windows, the last may start past the end of the input.
        let behind = (input + padding_before).div_ceil(stride);
        stepped_over.or((behind < output).then_some(behind))
    }
}

/// The smallest `x` for which `x*step - offset` modulo `modulus` is at least `low`, which is below the modulus.
fn first_residue(step: usize, modulus: usize, offset: usize, low: usize) -> Option<usize> {
    // The same for `x*step`, whose residues are then in a range that may wrap around.
    let first = (low + offset) % modulus;
    let last = (modulus - 1 + offset) % modulus;
    if last < first { Some(0) } else { first_multiple(step, modulus, [first, last]) }
}

/// The smallest `x` for which `x*step` modulo `modulus` is within `range`, an inclusive range below the modulus. A form
/// of Euclid's algorithm, so that large sizes take no longer.
fn first_multiple(step: usize, modulus: usize, range: [usize; 2]) -> Option<usize> {
    let ([first, last], step) = (range, step % modulus);
    if first == 0 {
        return Some(0);
    }
    if step == 0 {
        return None;
    }
    if 2 * step > modulus {
        return first_multiple(modulus - step, modulus, [modulus - last, modulus - first]);
    }
    let x = first.div_ceil(step);
    if x * step <= last {
        return Some(x);
    }
    // No multiple of the step is in the range; the smallest number of rounds after which one is, is a problem of the
    // same kind, modulo the step.
    let rounds = first_multiple(step - modulus % step, step, [first % step, last % step])?;
    Some((first + rounds * modulus).div_ceil(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding) -> Result<Axis> {
        let options =
            WindowOptions { kernel_size: [kernel; 2], stride: [stride; 2], dilation: [dilation; 2], padding };
        Axis::pair("test", [input; 2], &options).map(|[height, _]| height)
    }

    #[test]
    fn same_padding_keeps_the_size_and_counts_dilation() {
        for (input, kernel, stride, dilation) in
            [(28, 5, 1, 1), (28, 4, 1, 1), (7, 3, 2, 1), (9, 3, 1, 4), (5, 1, 3, 1)]
        {
            let axis = axis(input, kernel, stride, dilation, Padding::Same).unwrap();
            assert_eq!(axis.output, input.div_ceil(stride));
            assert!(axis.padding_after - axis.padding_before <= 1);
        }
    }

    #[test]
    fn the_taps_inside_are_those_that_meet_the_input() {
        for (input, kernel, stride, dilation, padding) in [
            (7, 3, 1, 1, 1),
            (7, 3, 2, 2, 3),
            (4, 3, 1, 1, 4),
            (9, 4, 3, 2, 0),
            (2, 5, 1, 3, 9),
            (5, 2, 4, 1, 2),
        ] {
            let axis = axis(input, kernel, stride, dilation, Padding::Symmetric([padding; 2])).unwrap();
            for position in 0..axis.output {
                let inside: Vec<usize> =
                    (0..kernel).filter(|&tap| axis.input_at(position, tap).is_some()).collect();
                assert_eq!(axis.taps_inside(position).collect::<Vec<_>>(), inside, "{axis:?} at {position}");
            }
        }
    }

    #[test]
    fn an_input_position_meets_the_windows_that_have_it() {
        for [input, kernel, stride] in all([6, 4, 4]) {
            for [dilation, before, after] in all([3, 5, 5]) {
                let (top, bottom) = (before - 1, after - 1);
                let options = WindowOptions {
                    kernel_size: [kernel, 1],
                    stride: [stride, 1],
                    dilation: [dilation, 1],
                    padding: Padding::Sides { top, bottom, left: 0, right: 0 },
                };
                let Ok([axis, _]) = Axis::pair("test", [input, 1], &options) else { continue };
                for h in 0..input {
                    let windows =
                        (0..axis.output).flat_map(|position| (0..kernel).map(move |tap| (position, tap)));
                    let meetings = windows.filter(|&(position, tap)| axis.input_at(position, tap) == Some(h));
                    assert!(axis.meetings(h).eq(meetings), "{axis:?} at {h}");
                }
            }
        }
    }

    /// The same result by visiting every window.
    fn first_in_padding_visited(axis: &Axis) -> Option<usize> {
        let meets_input =
            |position: usize| (0..axis.kernel).any(|tap| axis.input_at(position, tap).is_some());
        (0..axis.output).find(|&position| !meets_input(position))
    }

    #[test]
    fn windows_of_padding_alone_are_found_as_by_a_visit() {
        let (mut axes, mut in_padding) = (0, 0);
        for [input, kernel, stride] in all([6, 4, 7]) {
            for [dilation, before, after] in all([12, 16, 8]) {
                let (top, bottom) = (before - 1, after - 1);
                let padding = Padding::Sides { top, bottom, left: 0, right: 0 };
                let options = WindowOptions {
                    kernel_size: [kernel, 1],
                    stride: [stride, 1],
                    dilation: [dilation, 1],
                    padding,
                };
                for pair in [Axis::pair, Axis::pair_in_ceil_mode] {
                    let Ok([axis, _]) = pair("test", [input, 1], &options) else { continue };
                    let visited = first_in_padding_visited(&axis);
                    assert_eq!(axis.first_in_padding(), visited, "{axis:?}");
                    axes += 1;
                    in_padding += usize::from(visited.is_some_and(|position| position > 0));
                }
            }
        }
        assert!(axes > 50_000 && in_padding > 5_000, "{axes} axes, {in_padding} beyond the first window");
    }

    /// Every triple of sizes from 1 to `most`.
    fn all(most: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
        let [a, b, c] = most;
        (1..=a).flat_map(move |x| (1..=b).flat_map(move |y| (1..=c).map(move |z| [x, y, z])))
    }

    #[test]
    fn the_first_multiple_in_a_range_is_the_least() {
        for modulus in 1..=24 {
            for (step, first, last) in (0..=modulus).flat_map(|step| {
                (0..modulus).flat_map(move |first| (first..modulus).map(move |last| (step, first, last)))
            }) {
                let searched = (0..modulus).find(|x| (first..=last).contains(&(x * step % modulus)));
                let found = first_multiple(step, modulus, [first, last]);
                assert_eq!(found, searched, "{step} modulo {modulus} in {first}..={last}");
            }
        }
    }

    #[test]
    fn the_longest_axes_are_looked_at_at_once() {
        let most = i32::MAX as usize;
        let touching = axis(most, 1, 1, 1, Padding::Valid).unwrap();
        assert_eq!(touching.first_in_padding(), None);
        // Only even positions are read, and the input contains them.
        let (input, dilation) = ((1 << 20) - 1, 1 << 20);
        let window = axis(input, 1 << 9, 2, dilation, Padding::Symmetric([1 << 28; 2])).unwrap();
        assert_eq!(window.first_in_padding(), None);
        assert!(window.padding_before / window.stride > 100_000_000);
    }

    #[test]
    fn windows_that_cannot_be_are_refused_without_overflow() {
        let huge = usize::MAX;
        assert!(axis(3, 5, 1, 1, Padding::Valid).is_err());
        assert!(axis(3, 5, 1, 1, Padding::Symmetric([1, 1])).is_ok());
        for sizes in
            [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [huge, 1, 1, 1], [1, huge, 1, huge]]
        {
            assert!(axis(sizes[0], sizes[1], sizes[2], sizes[3], Padding::Same).is_err(), "{sizes:?}");
        }
        assert!(axis(1, 1, 1, 1, Padding::Symmetric([huge; 2])).is_err());
        let most = i32::MAX as usize;
        let options = WindowOptions { stride: [most; 2], ..WindowOptions::new([most; 2]) };
        let [hanging, _] = Axis::pair_in_ceil_mode("test", [1, 1], &options).unwrap();
        assert_eq!((hanging.output, hanging.taps_inside(0)), (1, 0..1));
        let options = WindowOptions { stride: [2; 2], ..WindowOptions::new([5; 2]) };
        let message = Axis::pair_in_ceil_mode("test", [3, 3], &options).unwrap_err().to_string();
        assert!(message.contains("the padded input height of 3 and 1 beyond it, found"), "{message}");
        assert!(axis(1 << 30, 1 << 30, 1, 1 << 30, Padding::Same).is_err());
    }
}
