//! Convolution of an image with filters shared by all positions.

use ::toml::Value;

use super::pytorch::{Call, padded, pair, symmetric_padding};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered, weighted};
use crate::Result;
use crate::network::{
    Content, Features, Initialiser, Keys, Kind, Layout, NetworkBuilder, Variable, initialiser, window,
};
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::optimizer::Group;
use crate::ops::window::{Axis, Padding, WindowOptions};
use crate::plan::{BufferId, Site};
use crate::tensor::ImageShape;

pub(super) const KEYS: &[&str] =
    &["filters", "kernel_size", "padding", "stride", "dilation", "groups", "bias", "initializer"];

pub(super) const TYPES: &[Registered] =
    &[Registered { name: "conv2d", keys: &[KEYS], read: |keys| Ok(Content::layer(read(keys)?)) }];

/// A convolution layer; by default without padding, with stride 1, one group and a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// K: the number of filters, which is the number of output channels.
    pub out_channels: usize,
    /// Number of groups: each output channel reads the input channels of its own group only.
    pub groups: usize,
    /// Stride, padding and dilation of the filters.
    pub window: WindowOptions,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
    /// How the filters are initialised; biases start at zero.
    pub initialiser: Initialiser,
}

impl Conv2d {
    /// `out_channels` filters of `kernel_size`, [height, width].
    pub fn new(out_channels: usize, kernel_size: [usize; 2]) -> Self {
        Conv2d {
            out_channels,
            groups: 1,
            window: WindowOptions::new(kernel_size),
            bias: true,
            initialiser: Initialiser::default(),
        }
    }

    /// Pads so that `output = ceil(input / stride)`.
    pub fn same(self) -> Self {
        self.padding(Padding::Same)
    }

    /// Pads the input.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Moves the filters by `stride`, [height, width].
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.window.stride = stride;
        self
    }

    /// Spreads the taps by `dilation`, [height, width]; 1 is none.
    pub fn dilation(mut self, dilation: [usize; 2]) -> Self {
        self.window.dilation = dilation;
        self
    }

    /// Splits the channels into `groups`; each output channel reads only the input channels of its group.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Sets how the filters are initialised.
    pub fn initialiser(mut self, initialiser: Initialiser) -> Self {
        self.initialiser = initialiser;
        self
    }

    /// The sizes of this layer's convolution over `batch_size` images.
    ///
    /// # Errors
    /// Those of [`ConvGeometry::new`].
    pub fn geometry(&self, batch_size: usize, image: ImageShape) -> Result<ConvGeometry> {
        ConvGeometry::new(batch_size, image, self.out_channels, self.groups, &self.window)
    }

    fn geometry_at(&self, site: &Site<'_>) -> Result<ConvGeometry> {
        self.geometry(site.batch_size(), site.input_features(0).image_for("an image")?)
    }
}

/// Reads [`KEYS`].
pub(super) fn read(keys: &mut Keys) -> Result<Conv2d> {
    let out_channels = keys.required("filters", Keys::size)?;
    let kernel_size = keys.required("kernel_size", Keys::pair)?;
    let default = Conv2d::new(out_channels, kernel_size);
    Ok(Conv2d {
        window: window::read(keys, default.window)?,
        groups: keys.optional("groups", Keys::size)?.unwrap_or(default.groups),
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        initialiser: keys.optional("initializer", Keys::initialiser)?.unwrap_or_default(),
        ..default
    })
}

impl LayerType for Conv2d {
    fn type_name(&self) -> &'static str {
        "conv2d"
    }

    fn stem(&self) -> &'static str {
        "conv"
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = vec![("filters", Value::from(self.out_channels as i64))];
        keys.extend(window::keys(&self.window, [1, 1]));
        keys.extend((self.groups != 1).then(|| ("groups", Value::from(self.groups as i64))));
        keys.extend((!self.bias).then(|| ("bias", Value::from(false))));
        keys.extend(initialiser::key(self.initialiser));
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        self.initialiser.check()?;
        let geometry = self.geometry(1, inputs[0].image_for("an image")?)?;
        let [height, width] = [geometry.height, geometry.width].map(|axis| axis.output);
        let weight = Variable {
            name: weighted::WEIGHT.into(),
            shape: geometry.filters_shape(),
            initialiser: self.initialiser,
            fan_in: geometry.taps(),
            fan_out: geometry.height.kernel * geometry.width.kernel * self.out_channels,
            layout: Layout::Filters,
            kind: Kind::Trained(Group::Weight),
        };
        let output = Features::Image(ImageShape { height, width, channels: self.out_channels });
        Ok(Inferred { output, variables: weighted::with_bias(weight, self.bias) })
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        weighted::arithmetic(variables)
    }

    fn windows(&self, input: Features) -> Option<[Axis; 2]> {
        let geometry = self.geometry(1, input.image_for("an image").ok()?).ok()?;
        Some([geometry.height, geometry.width])
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let image = site.features().image_for("an image")?;
        let geometry = self.geometry(1, image)?;
        let axes = [geometry.height, geometry.width];
        let (padding, around) = match symmetric_padding(axes) {
            Some(padding) => (padding, [[0, 0]; 2]),
            None => ([0, 0], axes.map(|axis| [axis.padding_before, axis.padding_after])),
        };
        let conv = Call::new("nn.Conv2d")
            .with(image.channels)
            .with(self.out_channels)
            .with(pair(self.window.kernel_size))
            .option("stride", pair(self.window.stride), pair([1, 1]))
            .option("padding", pair(padding), pair([0, 0]))
            .option("dilation", pair(self.window.dilation), pair([1, 1]))
            .option("groups", self.groups, 1)
            .flag("bias", self.bias, true);
        Ok(site.module_of(conv, padded(site.input(), around, None)))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let geometry = self.geometry_at(site)?;
        Ok(weighted::forward(site, geometry.output_shape(), ConvForward::new(geometry)))
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let geometry = self.geometry_at(site)?;
        let (of_filters, of_input) = (ConvGradFilters::new(geometry), ConvGradInput::new(geometry));
        Ok(weighted::backward(site, grad_output, of_filters, of_input))
    }
}

impl NetworkBuilder {
    /// Adds a convolution.
    pub fn conv2d(self, conv: Conv2d) -> Self {
        self.layer(conv)
    }
}
