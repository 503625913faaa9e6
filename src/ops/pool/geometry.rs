//! The sizes of a pool, checked once.

use super::PoolKind;
use crate::ops::conv::ConvGeometry;
use crate::ops::kernel::Constant;
use crate::ops::op::Precision;
use crate::ops::window::{Axis, WindowOptions};
use crate::tensor::{ImageShape, Shape};
use crate::{Error, Result};

const OPERATION: &str = "pool2d";

/// The sizes of a two-dimensional pool: checked, and therefore consistent.
///
/// At tap r,s, window p,q contains the input position `h = p*stride - padding + r*dilation`, likewise w from q and s,
/// separately in each channel. Every window contains at least one position of the input.
///
/// # Shapes
/// input `[N,H,W,C]`, output `[N,P,Q,C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// N: number of images.
    pub batch_size: usize,
    /// C: number of channels of the input and of the output.
    pub channels: usize,
    /// H, R and P.
    pub height: Axis,
    /// W, S and Q.
    pub width: Axis,
}

impl PoolGeometry {
    /// Checks the sizes of a pool.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size of zero, for a window larger than its padded input, for a window that lies
    /// entirely in the padding, and for a tensor of 2^31 elements or more.
    pub fn new(batch_size: usize, image: ImageShape, window: &WindowOptions) -> Result<Self> {
        Self::of_axes(batch_size, image, Axis::pair(OPERATION, [image.height, image.width], window)?)
    }

    /// The same in PyTorch's `ceil_mode`: a rest of the padded input that is too short for another window gets one all
    /// the same, which hangs over the end, unless it would start behind the input.
    ///
    /// # Errors
    /// Those of [`PoolGeometry::new`]; a window may be larger than its padded input, by less than the stride.
    pub fn in_ceil_mode(batch_size: usize, image: ImageShape, window: &WindowOptions) -> Result<Self> {
        let axes = Axis::pair_in_ceil_mode(OPERATION, [image.height, image.width], window)?;
        Self::of_axes(batch_size, image, axes)
    }

    fn of_axes(batch_size: usize, image: ImageShape, [height, width]: [Axis; 2]) -> Result<Self> {
        let channels = image.channels;
        for (what, size) in [("batch_size", batch_size), ("channels", channels)] {
            if size == 0 {
                return Err(Error::invalid(OPERATION, format!("{what} of at least 1"), size));
            }
        }
        for sizes in [
            [batch_size, height.input, width.input, channels],
            [batch_size, height.output, width.output, channels],
        ] {
            Shape::checked(OPERATION, sizes)?;
        }
        for (word, axis) in [("height", &height), ("width", &width)] {
            if let Some(position) = axis.first_in_padding() {
                return Err(Error::invalid(
                    OPERATION,
                    format!("windows that all meet the input {word} of {}", axis.input),
                    format!(
                        "kernel {}, dilation {}, padding {} and {}: window {position} meets padding alone",
                        axis.kernel, axis.dilation, axis.padding_before, axis.padding_after
                    ),
                ));
            }
        }
        Ok(PoolGeometry { batch_size, channels, height, width })
    }

    /// `[N,H,W,C]`.
    pub fn input_shape(&self) -> Shape {
        [self.batch_size, self.height.input, self.width.input, self.channels].into()
    }

    /// `[N,P,Q,C]`.
    pub fn output_shape(&self) -> Shape {
        [self.batch_size, self.height.output, self.width.output, self.channels].into()
    }

    /// R*S: number of taps of the window.
    pub fn taps(&self) -> usize {
        self.height.kernel * self.width.kernel
    }

    /// The number of taps of window p,q that an average of this kind divides by: those within the padded input, or within
    /// the input.
    #[inline(always)]
    pub(super) fn counted_taps(&self, kind: PoolKind, [p, q]: [usize; 2]) -> usize {
        let count = |axis: &Axis, position| axis.taps_within(kind.counted(axis), position).len();
        count(&self.height, p) * count(&self.width, q)
    }

    /// Whether [`PoolGeometry::counted_taps`] are R*S for every window.
    pub(super) fn counts_all_taps(&self, kind: PoolKind) -> bool {
        [self.height, self.width].iter().all(|axis| {
            // Windows between the first and the last lack no tap that these two have.
            let count = |position| axis.taps_within(kind.counted(axis), position).len();
            count(0) == axis.kernel && count(axis.output - 1) == axis.kernel
        })
    }

    /// Precision of averages of this kind and of their gradients: at most R*S terms, each divided by what counts.
    pub(super) fn average_precision(&self, kind: PoolKind) -> Precision {
        let exact_on_integers = self.counts_all_taps(kind) && self.taps().is_power_of_two();
        Precision { exact_on_integers, ..Precision::sum_of_products(self.taps()) }
    }

    /// Index of `input[n,h,w,c]` in memory.
    pub(super) fn input_index(&self, n: usize, h: usize, w: usize, c: usize) -> usize {
        ((n * self.height.input + h) * self.width.input + w) * self.channels + c
    }

    /// Whether windows lie side by side and cover the input.
    pub(super) fn meets_each_pixel_once(&self) -> bool {
        [self.height, self.width].iter().all(|axis| {
            let Axis { input, output, kernel, stride, dilation, padding_before, .. } = *axis;
            (stride, dilation, padding_before) == (kernel, 1, 0) && output * stride == input
        })
    }

    /// Calls `visit` with the number of every window of one image and the pixels under it, both in row-major
    /// order.
    #[inline(always)]
    pub(super) fn for_each_window(&self, mut visit: impl FnMut(usize, Pixels)) {
        self.for_each_position(
            #[inline(always)]
            |[p, q], pixels| visit(p * self.width.output + q, pixels),
        );
    }

    /// The same with the number of taps that an average of this kind divides by.
    #[inline(always)]
    pub(super) fn for_each_average(&self, kind: PoolKind, mut visit: impl FnMut(usize, Pixels, usize)) {
        let all = self.counts_all_taps(kind).then_some(self.taps());
        self.for_each_position(
            #[inline(always)]
            |[p, q], pixels| {
                let taps = all.unwrap_or_else(|| self.counted_taps(kind, [p, q]));
                visit(p * self.width.output + q, pixels, taps);
            },
        );
    }

    #[inline(always)]
    fn for_each_position(&self, mut visit: impl FnMut([usize; 2], Pixels)) {
        for p in 0..self.height.output {
            let rows = self.height.taps_inside(p);
            for q in 0..self.width.output {
                let columns = self.width.taps_inside(q);
                let first = |axis: &Axis, position: usize, tap: usize| {
                    position * axis.stride + tap * axis.dilation - axis.padding_before
                };
                let (h, w) = (first(&self.height, p, rows.start), first(&self.width, q, columns.start));
                let pixels = Pixels {
                    first: h * self.width.input + w,
                    counts: [rows.len(), columns.len()],
                    steps: [self.height.dilation * self.width.input, self.width.dilation],
                };
                visit([p, q], pixels);
            }
        }
    }

    /// The overrides that `shaders/conv/geometry.wgsl` declares: the windows of a pool are placed like those of a
    /// depthwise convolution.
    pub fn constants(&self) -> Vec<(&'static str, Constant)> {
        let PoolGeometry { batch_size, channels, height, width } = *self;
        let depthwise = ConvGeometry {
            batch_size,
            in_channels: channels,
            out_channels: channels,
            groups: channels,
            height,
            width,
        };
        depthwise.constants()
    }
}

/// The pixels under a window, without those in the padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels {
    first: usize,
    counts: [usize; 2],
    steps: [usize; 2],
}

impl Pixels {
    /// The pixels in row-major order.
    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let Pixels { first, counts, steps } = self;
        (0..counts[0]).flat_map(move |r| (0..counts[1]).map(move |s| first + r * steps[0] + s * steps[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::Padding;

    /// `pooling_output_shape` and the divisor of `avg_pool2d`, as PyTorch's sources have them (ATen/native/Pool.h and
    /// cpu/AvgPoolKernel.cpp), for every small axis that PyTorch takes.
    #[test]
    fn sizes_and_divisors_are_pytorchs() {
        let mut in_ceil_mode = 0;
        for (input, kernel, stride) in (1..=9_i64)
            .flat_map(|input| (1..=6_i64).map(move |kernel| (input, kernel)))
            .flat_map(|(input, kernel)| (1..=7_i64).map(move |stride| (input, kernel, stride)))
        {
            for (padding, ceil_mode) in
                (0..=kernel / 2).flat_map(|padding| [(padding, false), (padding, true)])
            {
                let beyond = if ceil_mode { stride - 1 } else { 0 };
                let mut output = (input + 2 * padding - kernel + beyond).div_euclid(stride) + 1;
                if ceil_mode && (output - 1) * stride >= input + padding {
                    output -= 1;
                }
                let window = WindowOptions {
                    stride: [1, stride as usize],
                    padding: Padding::Symmetric([0, padding as usize]),
                    ..WindowOptions::new([1, kernel as usize])
                };
                let image = ImageShape { height: 1, width: input as usize, channels: 1 };
                let new = if ceil_mode { PoolGeometry::in_ceil_mode } else { PoolGeometry::new };
                let found = new(1, image, &window);
                let sizes = format!("{input} {kernel} {stride} {padding} {ceil_mode}");
                if output < 1 {
                    assert!(found.is_err(), "{sizes}");
                    continue;
                }
                // A window that begins behind the input, which PyTorch's floor mode takes, is refused.
                if !ceil_mode && (output - 1) * stride >= input + padding {
                    assert!(found.is_err(), "{sizes}");
                    continue;
                }
                let geometry = found.unwrap_or_else(|error| panic!("{sizes}: {error}"));
                assert_eq!(geometry.width.output as i64, output, "{sizes}");
                in_ceil_mode +=
                    usize::from(ceil_mode && Some(geometry) != PoolGeometry::new(1, image, &window).ok());
                let mut all = [true; 2];
                for q in 0..output {
                    let start = q * stride - padding;
                    let end = (start + kernel).min(input + padding);
                    let divisors = [end - start, end.min(input) - start.max(0)];
                    for ((kind, divisor), all) in
                        [PoolKind::Average, PoolKind::AverageInside].into_iter().zip(divisors).zip(&mut all)
                    {
                        let counted = geometry.counted_taps(kind, [0, q as usize]);
                        assert_eq!(counted as i64, divisor, "{sizes} at {q}");
                        *all &= divisor == kernel;
                    }
                }
                let found =
                    [PoolKind::Average, PoolKind::AverageInside].map(|kind| geometry.counts_all_taps(kind));
                assert_eq!(found, all, "{sizes}");
            }
        }
        assert!(in_ceil_mode > 200, "{in_ceil_mode}");
    }

    #[test]
    fn windows_of_padding_alone_are_refused() {
        let pool = |input: usize, kernel: usize, stride: usize, dilation: usize, padding: usize| {
            let image = ImageShape { height: input, width: 9, channels: 1 };
            let window = WindowOptions {
                kernel_size: [kernel, 1],
                stride: [stride, 1],
                dilation: [dilation, 1],
                padding: Padding::Symmetric([padding, 0]),
            };
            PoolGeometry::new(1, image, &window)
        };
        assert!(pool(4, 3, 1, 1, 2).is_ok());
        assert!(pool(4, 3, 1, 1, 3).is_err());
        assert!(pool(4, 1, 1, 1, 1).is_err());
        assert!(pool(3, 2, 1, 2, 1).is_ok());
        // The taps of the first window are on both sides of the input.
        let error = pool(1, 2, 1, 2, 1).unwrap_err().to_string();
        assert!(error.contains("window 0 meets padding alone"), "{error}");
        // Padding at the end that no window reaches is dropped.
        assert!(pool(4, 2, 4, 1, 2).is_err());
        assert!(pool(5, 2, 6, 1, 1).is_ok());
    }
}
