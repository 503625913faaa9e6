//! The kinds of layers, and what they read and give.

use std::fmt;

use super::{Initialiser, Parameter};
use crate::Result;
use crate::ops::activation::Activation;
use crate::ops::conv::ConvGeometry;
use crate::ops::pool::{PoolGeometry, PoolKind};
use crate::ops::window::{Padding, WindowOptions};
use crate::tensor::ImageShape;

/// One layer of a [`Network`](super::Network).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name, unique in the network: letters, digits and underscores.
    pub name: String,
    /// What it does.
    pub kind: LayerKind,
    /// What it reads, in order; two of them for [`LayerKind::Add`], one for every other kind.
    pub inputs: Vec<LayerInput>,
    /// What it gives for one image.
    pub output: Features,
    /// What training changes: the weight, then the bias.
    pub parameters: Vec<Parameter>,
}

impl Layer {
    /// The name with the type, as messages and tables print it: `conv2 (conv2d)`.
    pub fn title(&self) -> String {
        title(&self.name, &self.kind)
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.shape.elements()).sum()
    }
}

/// A layer's name with its type: `conv2 (conv2d)`.
pub(super) fn title(name: &str, kind: &LayerKind) -> String {
    format!("{name} ({})", kind.type_name())
}

/// What a layer reads; a layer may have several readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerInput {
    /// The network's input.
    Image,
    /// The output of the layer of this index.
    Layer(usize),
}

impl LayerInput {
    /// The name of the network's input among the names of layers.
    pub const IMAGE_NAME: &str = "input";

    /// What the layer of index `index` reads unless told otherwise.
    pub fn before(index: usize) -> LayerInput {
        index.checked_sub(1).map_or(LayerInput::Image, LayerInput::Layer)
    }
}

/// What a layer gives for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Features {
    /// A feature map, [height, width, channels].
    Image(ImageShape),
    /// A vector.
    Flat {
        /// Number of values.
        size: usize,
        /// The map whose [height, width, channels] were laid flat in this order, kept through elementwise
        /// layers. PyTorch lays [channels, height, width] flat, so exporting the next dense layer needs it;
        /// a map of one position is the same in both orders, and is not kept.
        image: Option<ImageShape>,
    },
}

impl Features {
    /// Number of values.
    pub fn elements(&self) -> usize {
        match self {
            Features::Image(image) => image.elements(),
            Features::Flat { size, .. } => *size,
        }
    }

    /// Sizes of the axes: `[height, width, channels]`, or `[size]`.
    pub fn sizes(&self) -> Vec<usize> {
        match self {
            Features::Image(image) => vec![image.height, image.width, image.channels],
            Features::Flat { size, .. } => vec![*size],
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Features::Image(image) => write!(f, "an image of {image}"),
            Features::Flat { size, image: None } => write!(f, "{size} flat features"),
            Features::Flat { size, image: Some(image) } => {
                write!(f, "{size} features flattened from {image}")
            }
        }
    }
}

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerKind {
    /// Convolution of an image.
    Conv2d(Conv2d),
    /// Every output reads every input: `output[o] = sum over i of weight[o,i] * input[i] + bias[o]`.
    Dense(Dense),
    /// A function of each value by itself.
    Activation(Activation),
    /// The largest or the mean value of each window.
    Pool(Pool),
    /// An image laid flat, in the order height, width, channels.
    Flatten,
    /// The sum of two layers of the same shape.
    Add,
}

impl LayerKind {
    /// The type's name in messages and model files.
    pub fn type_name(&self) -> &'static str {
        match self {
            LayerKind::Conv2d(_) => "conv2d",
            LayerKind::Dense(_) => "dense",
            LayerKind::Activation(activation) => activation.name(),
            LayerKind::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            LayerKind::Pool(Pool { kind: PoolKind::Average, .. }) => "average_pool",
            LayerKind::Flatten => "flatten",
            LayerKind::Add => "add",
        }
    }

    /// What a number is appended to, to name a layer of this kind.
    pub(super) fn stem(&self) -> &'static str {
        match self {
            LayerKind::Conv2d(_) => "conv",
            LayerKind::Pool(_) => "pool",
            _ => self.type_name(),
        }
    }

    /// Number of layers that it reads.
    pub(super) fn input_count(&self) -> usize {
        if *self == LayerKind::Add { 2 } else { 1 }
    }
}

/// A convolution layer; by default without padding, by steps of one, in one group and with a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// K: filters, one an output channel.
    pub out_channels: usize,
    /// Parts of the channels that do not see each other.
    pub groups: usize,
    /// How the filters move.
    pub window: WindowOptions,
    /// Whether a value is added to each output channel.
    pub bias: bool,
    /// What the filters start from; biases start at zero.
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

    /// Splits the channels into `groups` that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Starts the filters from `initialiser`.
    pub fn initialiser(mut self, initialiser: Initialiser) -> Self {
        self.initialiser = initialiser;
        self
    }

    /// The sizes of this layer's convolution over `batch_size` images.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) as [`ConvGeometry::new`].
    pub fn geometry(&self, batch_size: usize, image: ImageShape) -> Result<ConvGeometry> {
        ConvGeometry::new(batch_size, image, self.out_channels, self.groups, &self.window)
    }
}

/// A dense layer; with a bias by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dense {
    /// O: outputs.
    pub units: usize,
    /// Whether a value is added to each output.
    pub bias: bool,
    /// What the weight starts from; biases start at zero.
    pub initialiser: Initialiser,
}

impl Dense {
    /// A dense layer of `units` outputs.
    pub fn new(units: usize) -> Self {
        Dense { units, bias: true, initialiser: Initialiser::default() }
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Starts the weight from `initialiser`.
    pub fn initialiser(mut self, initialiser: Initialiser) -> Self {
        self.initialiser = initialiser;
        self
    }
}

impl From<usize> for Dense {
    fn from(units: usize) -> Self {
        Dense::new(units)
    }
}

/// A pooling layer; by default its windows touch and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What it takes of each window.
    pub kind: PoolKind,
    /// How the window moves.
    pub window: WindowOptions,
}

impl Pool {
    /// A pool whose stride is its kernel size, [height, width].
    pub fn new(kind: PoolKind, kernel_size: [usize; 2]) -> Self {
        Pool { kind, window: WindowOptions { stride: kernel_size, ..WindowOptions::new(kernel_size) } }
    }

    /// Moves the window by `stride`, [height, width].
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.window.stride = stride;
        self
    }

    /// Pads the input.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Spreads the taps by `dilation`, [height, width]; 1 is none.
    pub fn dilation(mut self, dilation: [usize; 2]) -> Self {
        self.window.dilation = dilation;
        self
    }

    /// The sizes of this layer's pool over `batch_size` images.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) as [`PoolGeometry::new`].
    pub fn geometry(&self, batch_size: usize, image: ImageShape) -> Result<PoolGeometry> {
        PoolGeometry::new(batch_size, image, &self.window)
    }
}
