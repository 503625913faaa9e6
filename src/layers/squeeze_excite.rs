//! A map whose channels are weighted by what the whole image shows: a squeeze-and-excitation block.
//!
//! # Source
//! Hu, Shen and Sun 2018, "Squeeze-and-excitation networks"; torchvision's `SqueezeExcitation`, with dense layers in place of
//! 1x1 convolutions of a single pixel.

use super::{Dense, GlobalPool, Multiply, Registered};
use crate::Result;
use crate::network::{Content, Draft, Keys, LayerInput, NetworkBuilder, Source};
use crate::ops::activation::Activation;

const NAME: &str = "squeeze_excite";

pub(super) const TYPES: &[Registered] =
    &[Registered { name: NAME, keys: &[&["channels", "squeeze_channels"]], read }];

fn read(keys: &mut Keys) -> Result<Content> {
    let channels = keys.required("channels", Keys::size)?;
    let squeeze_channels = keys.required("squeeze_channels", Keys::size)?;
    Ok(squeeze_excite(channels, squeeze_channels))
}

/// The mean of each channel, two dense layers with a ReLU between them and a sigmoid behind, and the product of their
/// results and the block's input.
fn squeeze_excite(channels: usize, squeeze_channels: usize) -> Content {
    let gate = [
        Content::layer(GlobalPool::Average),
        Content::layer(Dense::new(squeeze_channels)),
        Content::layer(Activation::Relu),
        Content::layer(Dense::new(channels)),
        Content::layer(Activation::Sigmoid),
    ];
    let mut layers: Vec<Draft> = gate.into_iter().map(Draft::after_the_previous).collect();
    let inputs = vec![Source::Named(LayerInput::INPUT_NAME.into()), Source::Previous];
    layers.push(Draft { name: None, content: Content::layer(Multiply), inputs });
    Content::Block { stem: NAME, layers }
}

impl NetworkBuilder {
    /// Adds a squeeze-and-excitation block: the `channels` of its input are multiplied by factors between 0 and 1, computed
    /// from the means of all channels by a dense layer of `squeeze_channels` units and one of `channels`. Its layers are
    /// named after the block: `squeeze_excite1.dense1`.
    pub fn squeeze_excite(self, channels: usize, squeeze_channels: usize) -> Self {
        self.block(Ok(()), |()| squeeze_excite(channels, squeeze_channels))
    }
}
