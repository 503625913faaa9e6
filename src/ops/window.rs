//! One axis of a sliding window: the arithmetic that convolution and pooling share.

use std::ops::Range;

use crate::{Error, Result};

/// How a window moves along height and width; what a layer and the command line hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// Taps of the window: [height, width].
    pub kernel_size: [usize; 2],
    /// Positions from one window to the next: [height, width].
    pub stride: [usize; 2],
    /// Positions from one tap to the next, 1 for none between: [height, width].
    pub dilation: [usize; 2],
    /// Room around the input.
    pub padding: Padding,
}

impl WindowOptions {
    /// A window of `kernel_size` that moves by one, without padding or dilation.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        WindowOptions { kernel_size, stride: [1, 1], dilation: [1, 1], padding: Padding::Valid }
    }
}

/// Room around the input of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// None.
    Valid,
    /// As much as makes `output = ceil(input / stride)`; an odd rest goes to the bottom and the right.
    Same,
    /// The same above and below, and the same left and right: [height, width].
    Symmetric([usize; 2]),
    /// Each side by itself.
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
    /// Positions before and after the input along `axis` (0 is height), where `Same` does not apply.
    fn sides(self, axis: usize) -> Option<[usize; 2]> {
        match self {
            Padding::Valid => Some([0, 0]),
            Padding::Same => None,
            Padding::Symmetric(sizes) => Some([sizes[axis]; 2]),
            Padding::Sides { top, bottom, left, right } => Some([[top, bottom], [left, right]][axis]),
        }
    }
}

/// A window's arithmetic along one axis, checked once: position `o` of the output meets, at tap `t`, the
/// input position `o*stride - padding_before + t*dilation`, where that lies inside the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Positions of the input.
    pub input: usize,
    /// Positions of the output.
    pub output: usize,
    /// Taps of the window.
    pub kernel: usize,
    /// Input positions from one window to the next.
    pub stride: usize,
    /// Input positions from one tap to the next.
    pub dilation: usize,
    /// Positions added before the input.
    pub padding_before: usize,
    /// Positions added after the input.
    pub padding_after: usize,
}

impl Axis {
    /// The axes of a window over an input of `input_size`, [height, width].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size of zero or beyond 2^31, and for a window larger than its padded input.
    pub fn pair(operation: &str, input_size: [usize; 2], options: &WindowOptions) -> Result<[Axis; 2]> {
        let axis = |axis| Self::new(operation, axis, input_size[axis], options);
        Ok([axis(0)?, axis(1)?])
    }

    fn new(operation: &str, axis: usize, input: usize, options: &WindowOptions) -> Result<Axis> {
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
        if span > padded {
            let expected = format!("a kernel that spans at most the padded input {word} of {padded}");
            return Err(Error::invalid(
                operation,
                expected,
                format!("kernel {kernel}, dilation {dilation}: {span}"),
            ));
        }
        let output = ((padded - span) / stride as u64) as usize + 1;
        Ok(Axis { input, output, kernel, stride, dilation, padding_before: before, padding_after: after })
    }

    /// The input position under tap `tap` of output position `position`; none in the padding.
    pub fn input_at(&self, position: usize, tap: usize) -> Option<usize> {
        (position * self.stride + tap * self.dilation)
            .checked_sub(self.padding_before)
            .filter(|&input| input < self.input)
    }

    /// The output positions whose windows meet input position `input`, each with the tap that meets it.
    pub fn meetings(&self, input: usize) -> impl Iterator<Item = (usize, usize)> {
        let all = (0..self.output).flat_map(|position| (0..self.kernel).map(move |tap| (position, tap)));
        all.filter(move |&(position, tap)| self.input_at(position, tap) == Some(input))
    }

    /// The taps that lie inside the input at output position `position`; the others meet padding.
    pub fn taps_inside(&self, position: usize) -> Range<usize> {
        let start = position * self.stride;
        let first = self.padding_before.saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        let end =
            (self.input + self.padding_before).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        first..end.max(first)
    }
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
        assert!(axis(1 << 30, 1 << 30, 1, 1 << 30, Padding::Same).is_err());
    }
}
