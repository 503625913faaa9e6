//! What a network computes: layers, their shapes and variables. No buffers, no devices, no batch size.
//!
//! The types of layers are in [`layers`](crate::layers); no code here names one.
//!
//! ```
//! use wgconv::layers::Conv2d;
//! use wgconv::network::Network;
//! use wgconv::tensor::ImageShape;
//!
//! # fn main() -> wgconv::Result<()> {
//! let digits = ImageShape { height: 28, width: 28, channels: 1 };
//! let network = Network::builder("tiny", digits)
//!     .conv2d(Conv2d::new(8, [3, 3]).same())
//!     .relu()
//!     .max_pool(2)
//!     .flatten()
//!     .dense(10)
//!     .build()?;
//! assert_eq!(network.parameter_count(), (3 * 3 * 8 + 8) + (14 * 14 * 8 * 10 + 10));
//! # Ok(())
//! # }
//! ```

mod builder;
mod file;
pub(crate) mod initialiser;
mod keys;
mod layer;
mod load;
pub mod presets;
mod sample;
mod variable;
mod weights;
pub(crate) mod window;
mod write;

pub use builder::NetworkBuilder;
pub(crate) use builder::{Content, Draft, Source, layer_count};
pub use file::NetworkFile;
pub(crate) use file::{MOST_LAYERS, expected_layers};
pub use initialiser::Initialiser;
pub(crate) use keys::{Keys, number};
pub use layer::{Features, Layer, LayerInput};
pub use load::{load, open};
pub use presets::{PRESETS, Preset};
pub use sample::Sample;
pub use variable::{Kind, Layout, Variable};
pub use weights::{Adopted, Weights};

use crate::tensor::ImageShape;
use crate::{Error, Result};

/// Layers in the order in which they run, each reading layers before it; the last one is the output.
///
/// Only [`NetworkBuilder::build`] makes a network, so it is consistent: names are unique, shapes fit, and every
/// layer's output is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    name: String,
    input: ImageShape,
    layers: Vec<Layer>,
}

impl Network {
    /// Starts a network that reads images of shape `input`.
    pub fn builder(name: impl Into<String>, input: ImageShape) -> NetworkBuilder {
        NetworkBuilder::new(name, input)
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of the images that it reads.
    pub fn input(&self) -> ImageShape {
        self.input
    }

    /// The layers, in the order in which they run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shape of the last layer's output for one image.
    pub fn output(&self) -> Features {
        self.output_layer().output
    }

    /// The shape of `input` for one image.
    pub fn features(&self, input: LayerInput) -> Features {
        match input {
            LayerInput::Image => Features::Image(self.input),
            LayerInput::Layer(index) => self.layers[index].output,
        }
    }

    /// Name of a layer's input: `input` for the image.
    pub fn input_name(&self, input: LayerInput) -> &str {
        match input {
            LayerInput::Image => LayerInput::INPUT_NAME,
            LayerInput::Layer(index) => &self.layers[index].name,
        }
    }

    /// Every layer's variables, in the order of the layers.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.layers.iter().flat_map(|layer| &layer.variables)
    }

    /// Number of values that training changes, or would change if they were not frozen: all but statistics.
    pub fn parameter_count(&self) -> usize {
        self.layers.iter().map(Layer::parameter_count).sum()
    }

    /// The same network, with those variables frozen whose names match one of `patterns`, in which `*` stands for any
    /// characters: `conv1.*`, `*.bias`. Training does not change them, and computes no gradient that only they need.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a pattern that matches no trainable variable.
    pub fn freeze(self, patterns: &[String]) -> Result<Self> {
        self.change("freeze", patterns, |kind| match kind {
            Kind::Statistic => None,
            _ => Some(Kind::Frozen),
        })
    }

    /// The same network, with those variables trained at first alone whose names match one of `patterns`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a pattern that matches no trained variable.
    pub fn train_at_first(self, patterns: &[String]) -> Result<Self> {
        self.change("freeze_after", patterns, |kind| match kind {
            Kind::Trained(group) | Kind::TrainedAtFirst(group) => Some(Kind::TrainedAtFirst(group)),
            _ => None,
        })
    }

    /// Changes the kinds of variables whose names match one of `patterns`.
    fn change(
        mut self,
        what: &str,
        patterns: &[String],
        changed: impl Fn(Kind) -> Option<Kind>,
    ) -> Result<Self> {
        for pattern in patterns {
            let variables = self.layers.iter_mut().flat_map(|layer| &mut layer.variables);
            let matching = variables.filter(|variable| weights::matches(pattern, &variable.name));
            let mut changes = 0;
            for variable in matching {
                if let Some(kind) = changed(variable.kind) {
                    variable.kind = kind;
                    changes += 1;
                }
            }
            if changes == 0 {
                return Err(Error::invalid(what, self.pattern_expected(), format!("{pattern:?}")));
            }
        }
        Ok(self)
    }

    /// What a pattern must be, for messages.
    fn pattern_expected(&self) -> String {
        let names: Vec<&str> = self.variables().map(|variable| variable.name.as_str()).collect();
        format!("a pattern that matches one of {}", names.join(", "))
    }

    fn output_layer(&self) -> &Layer {
        self.layers.last().expect("a built network has a layer")
    }
}
