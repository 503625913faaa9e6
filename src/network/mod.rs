//! What a network computes: layers, their shapes and parameters. No buffers, no devices, no batch size.
//!
//! ```
//! use wgconv::network::{Conv2d, Network};
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
mod initialiser;
mod layer;
mod load;
mod parameter;
pub mod presets;
mod toml;

pub use builder::NetworkBuilder;
pub use initialiser::Initialiser;
pub use layer::{Conv2d, Dense, Features, Layer, LayerInput, LayerKind, Pool};
pub use load::{load, open};
pub use parameter::{Layout, Parameter};
pub use presets::{PRESETS, Preset};
pub use toml::NetworkFile;

use crate::tensor::ImageShape;

/// Layers in the order in which they run, each reading layers before it; the last one is the output.
///
/// Made by [`NetworkBuilder::build`] alone, and therefore consistent: names are unique, shapes fit, and
/// every layer's output is read.
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

    /// What the last layer gives for one image.
    pub fn output(&self) -> Features {
        self.output_layer().output
    }

    /// What `input` gives for one image.
    pub fn features(&self, input: LayerInput) -> Features {
        match input {
            LayerInput::Image => Features::Image(self.input),
            LayerInput::Layer(index) => self.layers[index].output,
        }
    }

    /// Name of what a layer reads: `input` for the image.
    pub fn input_name(&self, input: LayerInput) -> &str {
        match input {
            LayerInput::Image => LayerInput::IMAGE_NAME,
            LayerInput::Layer(index) => &self.layers[index].name,
        }
    }

    /// Every layer's parameters, in the order of the layers: the order of checkpoints and gradients.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers.iter().flat_map(|layer| &layer.parameters)
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.layers.iter().map(Layer::parameter_count).sum()
    }

    /// The values that training starts from, one vector a parameter, in the order of
    /// [`Network::parameters`]; the same on every platform.
    pub fn initial_parameters(&self, seed: u64) -> Vec<Vec<f32>> {
        let streams = 0..;
        self.parameters()
            .zip(streams)
            .map(|(parameter, stream)| parameter.initial_values(seed, stream))
            .collect()
    }

    fn output_layer(&self) -> &Layer {
        self.layers.last().expect("a built network has a layer")
    }
}
