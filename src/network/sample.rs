//! Variables that are computed from training images before the first step.

use super::{LayerInput, Network, Weights};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// Some training images as a network sees them, for [`LayerType::fit`](crate::layers::LayerType::fit).
pub struct Sample<'a> {
    image: ImageShape,
    len: usize,
    pixels: &'a (dyn Fn(usize) -> Vec<f32> + Sync),
}

impl<'a> Sample<'a> {
    /// `len` images of shape `image`; `pixels` gives the normalised values `[height, width, channels]` of one of them.
    pub fn new(image: ImageShape, len: usize, pixels: &'a (dyn Fn(usize) -> Vec<f32> + Sync)) -> Self {
        Sample { image, len, pixels }
    }

    /// The shape of every image.
    pub fn image(&self) -> ImageShape {
        self.image
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The normalised values of image `number`, `[height, width, channels]`.
    pub fn pixels(&self, number: usize) -> Vec<f32> {
        (self.pixels)(number)
    }
}

impl Network {
    /// Replaces the weights that layers compute from training images, as before the first step of a training.
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of another shape than the network reads, and for weights of another network;
    /// [`Error::Memory`] when there is too little memory.
    pub fn fit(&self, weights: &mut Weights, sample: &Sample<'_>) -> Result<()> {
        if sample.image() != self.input() {
            return Err(Error::invalid("sample", format!("images of {}", self.input()), sample.image()));
        }
        self.check_weights(weights)?;
        for layer in self.layers().iter().filter(|layer| layer.kind.is_fitted() && !sample.is_empty()) {
            debug_assert_eq!(layer.inputs, [LayerInput::Image]);
            for (name, values) in layer.kind.fit(sample) {
                let full = format!("{}.{name}", layer.name);
                let variable = layer.variables.iter().find(|variable| variable.name == full);
                let variable = variable.unwrap_or_else(|| panic!("{} has no variable {name}", layer.name));
                weights.insert(full, variable.to_pytorch(&values)?);
            }
        }
        Ok(())
    }
}
