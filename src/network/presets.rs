//! Networks that have a name.

use super::{Conv2d, Network, NetworkBuilder};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// A preset's name and its builder, for images of a shape and a number of classes.
type Preset = (&'static str, fn(ImageShape, usize) -> Result<Network>);

/// The presets, smallest first.
pub const PRESETS: [Preset; 3] = [("linear", linear), ("lenet", lenet), ("vgg_mini", vgg_mini)];

/// The preset of this name.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name; as the preset, otherwise.
pub fn preset(name: &str, input: ImageShape, classes: usize) -> Result<Network> {
    match PRESETS.iter().find(|(preset, _)| *preset == name) {
        Some((_, build)) => build(input, classes),
        None => Err(Error::invalid("model", names(), format!("{name:?}"))),
    }
}

/// The presets' names, for messages.
pub(super) fn names() -> String {
    PRESETS.map(|(name, _)| name).join(", ")
}

/// One dense layer: a baseline that every other network should beat.
///
/// # Errors
/// [`Error::Layer`] for zero classes, [`Error::Invalid`] for an empty image.
pub fn linear(input: ImageShape, classes: usize) -> Result<Network> {
    Network::builder("linear", input).flatten().dense(classes).build()
}

/// Two 5x5 convolutions of 16 and 32 filters, each with a ReLU and a 2x2 max-pool; dense 128; dense classes.
///
/// # Errors
/// [`Error::Layer`] for zero classes and for images of fewer than 4x4 pixels.
pub fn lenet(input: ImageShape, classes: usize) -> Result<Network> {
    let conv = |filters| Conv2d::new(filters, [5, 5]).same();
    let features = Network::builder("lenet", input)
        .conv2d(conv(16))
        .relu()
        .max_pool(2)
        .conv2d(conv(32))
        .relu()
        .max_pool(2);
    classifier(features, classes)
}

/// Two pairs of 3x3 convolutions of 32 and 64 filters, a ReLU after each and a 2x2 max-pool after each pair;
/// dense 128; dense classes.
///
/// # Errors
/// [`Error::Layer`] for zero classes and for images of fewer than 4x4 pixels.
pub fn vgg_mini(input: ImageShape, classes: usize) -> Result<Network> {
    let features = [32, 64].into_iter().fold(Network::builder("vgg_mini", input), |network, filters| {
        let conv = Conv2d::new(filters, [3, 3]).same();
        network.conv2d(conv).relu().conv2d(conv).relu().max_pool(2)
    });
    classifier(features, classes)
}

fn classifier(features: NetworkBuilder, classes: usize) -> Result<Network> {
    features.flatten().dense(128).relu().dense(classes).build()
}
