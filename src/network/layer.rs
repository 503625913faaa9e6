//! A layer in its network: its inputs and its output.

use std::fmt;
use std::sync::Arc;

use super::{Kind, Variable};
use crate::layers::LayerType;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// One layer of a [`Network`](super::Network).
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name, unique in the network: words of letters, digits and underscores, joined by dots if the layer is in a
    /// block.
    pub name: String,
    /// Its type and options.
    pub kind: Arc<dyn LayerType>,
    /// Its inputs, in order: as many as [`LayerType::input_counts`] allows.
    pub inputs: Vec<LayerInput>,
    /// The shape of its output for one image.
    pub output: Features,
    /// The tensors that belong to it and outlive a step.
    pub variables: Vec<Variable>,
}

impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        let described = |layer: &Layer| (layer.kind.type_name(), layer.kind.keys());
        self.name == other.name
            && described(self) == described(other)
            && self.inputs == other.inputs
            && self.output == other.output
            && self.variables == other.variables
    }
}

impl Layer {
    /// The name with the type, as messages and tables print it: `conv2 (conv2d)`.
    pub fn title(&self) -> String {
        title(&self.name, self.kind.type_name())
    }

    /// Number of values that training changes, or would change if they were not frozen: all but statistics.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.variables.iter().filter(|variable| variable.kind != Kind::Statistic);
        parameters.map(|parameter| parameter.shape.elements()).sum()
    }
}

/// A layer's name with its type: `conv2 (conv2d)`.
pub(super) fn title(name: &str, type_name: &str) -> String {
    format!("{name} ({type_name})")
}

/// An input of a layer; several layers may have the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerInput {
    /// The network's input.
    Image,
    /// The output of the layer of this index.
    Layer(usize),
}

impl LayerInput {
    /// The name that stands for the input of the network, or of a block, among the names of layers.
    pub const INPUT_NAME: &str = "input";

    /// The input of the layer of index `index` unless told otherwise.
    pub fn before(index: usize) -> LayerInput {
        index.checked_sub(1).map_or(LayerInput::Image, LayerInput::Layer)
    }
}

/// The shape of a layer's output for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Features {
    /// A feature map, [height, width, channels].
    Image(ImageShape),
    /// A vector.
    Flat {
        /// Number of values.
        size: usize,
        /// The map whose [height, width, channels] were flattened in this order, kept through elementwise layers.
        /// PyTorch flattens [channels, height, width], so exporting the next dense layer needs the map; a map of one
        /// position is the same in both orders, and is not kept.
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

    /// The image that a layer needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for flat features; `expected` describes the required image.
    pub fn image_for(&self, expected: &str) -> Result<ImageShape> {
        match *self {
            Features::Image(image) => Ok(image),
            Features::Flat { .. } => Err(Error::invalid("layer", expected, self)),
        }
    }

    /// Number of channels: the size of the last axis.
    pub fn channels(&self) -> usize {
        match self {
            Features::Image(image) => image.channels,
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
