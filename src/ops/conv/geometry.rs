//! The sizes of a convolution, checked once.

use crate::ops::kernel::Constant;
use crate::ops::op::Precision;
use crate::ops::window::{Axis, WindowOptions};
use crate::tensor::{ImageShape, Shape, position};
use crate::{Error, Result};

/// The sizes of a two-dimensional convolution: checked, and therefore consistent.
///
/// ```text
/// output[n,p,q,k] = sum over r,s,c of input[n,h,w,g*C/groups + c] * filters[k,r,s,c] h = p*stride - padding +
/// r*dilation, likewise w from q and s; terms outside the input are zero g = k / (K/groups): output channel k depends
/// only on the input channels of its own group
/// ```
///
/// # Shapes
/// input `[N,H,W,C]`, filters `[K,R,S,C/groups]`, output `[N,P,Q,K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// N: number of images.
    pub batch_size: usize,
    /// C: number of channels of the input.
    pub in_channels: usize,
    /// K: number of channels of the output, one per filter.
    pub out_channels: usize,
    /// Number of independent groups of channels.
    pub groups: usize,
    /// H, R and P.
    pub height: Axis,
    /// W, S and Q.
    pub width: Axis,
}

impl ConvGeometry {
    /// Checks the sizes of a convolution.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size of zero, for groups that do not divide both numbers of channels, for a
    /// window larger than its padded input, and for a tensor of 2^31 elements or more.
    pub fn new(
        batch_size: usize,
        image: ImageShape,
        out_channels: usize,
        groups: usize,
        window: &WindowOptions,
    ) -> Result<Self> {
        const OPERATION: &str = "conv2d";
        let in_channels = image.channels;
        for (what, size) in
            [("batch_size", batch_size), ("in_channels", in_channels), ("out_channels", out_channels)]
        {
            if size == 0 {
                return Err(Error::invalid(OPERATION, format!("{what} of at least 1"), size));
            }
        }
        if groups == 0 || !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            let expected =
                format!("groups that divide in_channels {in_channels} and out_channels {out_channels}");
            return Err(Error::invalid(OPERATION, expected, groups));
        }
        let [height, width] = Axis::pair(OPERATION, [image.height, image.width], window)?;
        let filter = [out_channels, height.kernel, width.kernel, in_channels / groups];
        for sizes in [
            [batch_size, height.input, width.input, in_channels],
            [batch_size, height.output, width.output, out_channels],
            filter,
        ] {
            Shape::checked(OPERATION, sizes)?;
        }
        Ok(ConvGeometry { batch_size, in_channels, out_channels, groups, height, width })
    }

    /// `[N,H,W,C]`.
    pub fn input_shape(&self) -> Shape {
        [self.batch_size, self.height.input, self.width.input, self.in_channels].into()
    }

    /// `[K,R,S,C/groups]`.
    pub fn filters_shape(&self) -> Shape {
        [self.out_channels, self.height.kernel, self.width.kernel, self.group_in_channels()].into()
    }

    /// `[N,P,Q,K]`.
    pub fn output_shape(&self) -> Shape {
        [self.batch_size, self.height.output, self.width.output, self.out_channels].into()
    }

    /// n, h, w and c of the element at `index` of the input.
    pub fn input_position(&self, index: usize) -> [usize; 4] {
        position([self.batch_size, self.height.input, self.width.input, self.in_channels], index)
    }

    /// k, r, s and c of the element at `index` of the filters.
    pub fn filters_position(&self, index: usize) -> [usize; 4] {
        let sizes = [self.out_channels, self.height.kernel, self.width.kernel, self.group_in_channels()];
        position(sizes, index)
    }

    /// n, p, q and k of the element at `index` of the output.
    pub fn output_position(&self, index: usize) -> [usize; 4] {
        position([self.batch_size, self.height.output, self.width.output, self.out_channels], index)
    }

    /// Whether each output channel depends only on the input channel of the same number.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.in_channels == self.groups && self.out_channels == self.groups
    }

    /// C/groups.
    pub fn group_in_channels(&self) -> usize {
        self.in_channels / self.groups
    }

    /// K/groups.
    pub fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    /// P*Q: number of windows in one image.
    pub fn positions(&self) -> usize {
        self.height.output * self.width.output
    }

    /// R*S*C/groups: number of products in one output value.
    pub fn taps(&self) -> usize {
        self.height.kernel * self.width.kernel * self.group_in_channels()
    }

    /// Floating-point operations of each of the three passes, `2*N*K*P*Q*(C/groups)*R*S`: products with the
    /// padding count, as cuDNN and MIOpen count them.
    pub fn flops(&self) -> u64 {
        2 * self.output_shape().elements() as u64 * self.taps() as u64
    }

    /// Precision of the forward pass: R*S*C/groups products.
    pub fn forward_precision(&self) -> Precision {
        Precision::sum_of_products(self.taps())
    }

    /// Precision of the filter gradient: N*P*Q products.
    pub fn grad_filters_precision(&self) -> Precision {
        Precision::sum_of_products(self.batch_size * self.positions())
    }

    /// Precision of the input gradient: R*S*K/groups products.
    pub fn grad_input_precision(&self) -> Precision {
        Precision::sum_of_products(self.height.kernel * self.width.kernel * self.group_out_channels())
    }

    /// The overrides that `shaders/conv/geometry.wgsl` declares.
    pub fn constants(&self) -> Vec<(&'static str, Constant)> {
        let ConvGeometry { height, width, .. } = self;
        vec![
            ("BATCH_SIZE", self.batch_size.into()),
            ("IN_CHANNELS", self.in_channels.into()),
            ("OUT_CHANNELS", self.out_channels.into()),
            ("GROUPS", self.groups.into()),
            ("IN_HEIGHT", height.input.into()),
            ("IN_WIDTH", width.input.into()),
            ("OUT_HEIGHT", height.output.into()),
            ("OUT_WIDTH", width.output.into()),
            ("KERNEL_HEIGHT", height.kernel.into()),
            ("KERNEL_WIDTH", width.kernel.into()),
            ("STRIDE_HEIGHT", height.stride.into()),
            ("STRIDE_WIDTH", width.stride.into()),
            ("DILATION_HEIGHT", height.dilation.into()),
            ("DILATION_WIDTH", width.dilation.into()),
            ("PADDING_TOP", height.padding_before.into()),
            ("PADDING_LEFT", width.padding_before.into()),
        ]
    }
}
