//! Convolution of each channel with filters of its own.

use ::toml::Value;

use super::{Conv2d, Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, Initialiser, Keys, NetworkBuilder, Variable, initialiser, window};
use crate::ops::window::{Axis, Padding, WindowOptions};
use crate::plan::{BufferId, Site};
use crate::{Error, Result};

pub(super) const KEYS: &[&str] = &["kernel_size", "padding", "stride", "dilation", "bias", "initializer"];

const MULTIPLIER: &str = "multiplier";

pub(super) const TYPES: &[Registered] =
    &[Registered { name: NAME, keys: &[KEYS, &[MULTIPLIER]], read: |keys| Ok(Content::layer(read(keys)?)) }];

const NAME: &str = "depthwise_conv2d";

/// A convolution with as many groups as the input has channels, whatever their number: each channel is convolved with
/// `multiplier` filters of its own. By default without padding, with stride 1, one filter a channel and a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthwiseConv2d {
    /// Number of filters for each channel.
    pub multiplier: usize,
    /// Stride, padding and dilation of the filters.
    pub window: WindowOptions,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
    /// How the filters are initialised; biases start at zero.
    pub initialiser: Initialiser,
}

impl DepthwiseConv2d {
    /// A filter of `kernel_size`, [height, width], for each channel.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        DepthwiseConv2d {
            multiplier: 1,
            window: WindowOptions::new(kernel_size),
            bias: true,
            initialiser: Initialiser::default(),
        }
    }

    /// Pads so that `output = ceil(input / stride)`.
    pub fn same(mut self) -> Self {
        self.window.padding = Padding::Same;
        self
    }

    /// Moves the filters by `stride`, [height, width].
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.window.stride = stride;
        self
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// The convolution of maps with this many channels.
    fn of(&self, features: Features) -> Result<Conv2d> {
        let channels = features.image_for("an image")?.channels;
        let DepthwiseConv2d { multiplier, window, bias, initialiser } = *self;
        let Some(out_channels) = channels.checked_mul(multiplier) else {
            let expected = format!("a multiplier for {channels} channels that gives fewer than 2^31");
            return Err(Error::invalid(NAME, expected, multiplier));
        };
        Ok(Conv2d { out_channels, groups: channels, window, bias, initialiser })
    }
}

/// Reads [`KEYS`].
pub(super) fn read_filter(keys: &mut Keys) -> Result<DepthwiseConv2d> {
    let default = DepthwiseConv2d::new(keys.required("kernel_size", Keys::pair)?);
    Ok(DepthwiseConv2d {
        window: window::read(keys, default.window)?,
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        initialiser: keys.optional("initializer", Keys::initialiser)?.unwrap_or_default(),
        ..default
    })
}

fn read(keys: &mut Keys) -> Result<DepthwiseConv2d> {
    let default = read_filter(keys)?;
    let multiplier = keys.optional(MULTIPLIER, Keys::size)?.unwrap_or(default.multiplier);
    Ok(DepthwiseConv2d { multiplier, ..default })
}

impl LayerType for DepthwiseConv2d {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn stem(&self) -> &'static str {
        "conv"
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = window::keys(&self.window, [1, 1]);
        keys.extend((self.multiplier != 1).then(|| (MULTIPLIER, Value::from(self.multiplier as i64))));
        keys.extend((!self.bias).then(|| ("bias", Value::from(false))));
        keys.extend(initialiser::key(self.initialiser));
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        self.of(inputs[0])?.infer(inputs)
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        super::weighted::arithmetic(variables)
    }

    fn windows(&self, input: Features) -> Option<[Axis; 2]> {
        self.of(input).ok()?.windows(input)
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        self.of(site.features())?.pytorch(site)
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        self.of(site.input_features(0))?.forward(site)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        self.of(site.input_features(0))?.backward(site, grad_output)
    }
}

impl NetworkBuilder {
    /// Adds a convolution of each channel with filters of its own.
    pub fn depthwise_conv2d(self, conv: DepthwiseConv2d) -> Self {
        self.layer(conv)
    }
}
