//! A layer in its network: what it reads and what it gives.

use std::fmt;
use std::sync::Arc;

use super::{Kind, Variable};
use crate::layers::LayerType;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// One layer of a [`Network`](super::Network).
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name, unique in the network: words of letters, digits and underscores, with dots between them where it stands
    /// in a block.
    pub name: String,
    /// What it does.
    pub kind: Arc<dyn LayerType>,
    /// What it reads, in order: [`LayerType::input_count`] of them.
    pub inputs: Vec<LayerInput>,
    /// What it gives for one image.
    pub output: Features,
    /// What belongs to it and outlives a step.
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

    /// Number of values that training changes, or would change were they not frozen: all but statistics.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.variables.iter().filter(|variable| variable.kind != Kind::Statistic);
        parameters.map(|parameter| parameter.shape.elements()).sum()
    }
}

/// A layer's name with its type: `conv2 (conv2d)`.
pub(super) fn title(name: &str, type_name: &str) -> String {
    format!("{name} ({type_name})")
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
    /// The name of a network's input, and of a block's, among the names of layers.
    pub const INPUT_NAME: &str = "input";

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

    /// The image that a layer needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for flat features, where a layer has `expected` an image.
    pub fn image_for(&self, expected: &str) -> Result<ImageShape> {
        match *self {
            Features::Image(image) => Ok(image),
            Features::Flat { .. } => Err(Error::invalid("layer", expected, self)),
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
