//! Networks with a name.

use super::{Network, NetworkBuilder};
use crate::Result;
use crate::layers::Conv2d;
use crate::tensor::ImageShape;

/// A network with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name that a user types.
    pub name: &'static str,
    /// The shape of the images that it was designed for; it accepts others too.
    pub image: ImageShape,
    /// Builds it for images of a shape and for a number of classes.
    pub build: fn(ImageShape, usize) -> Result<Network>,
}

const MNIST: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };
const CIFAR: ImageShape = ImageShape { height: 32, width: 32, channels: 3 };

/// The presets, smallest first.
pub const PRESETS: [Preset; 3] = [
    Preset { name: "linear", image: MNIST, build: linear },
    Preset { name: "lenet", image: MNIST, build: lenet },
    Preset { name: "vgg-mini", image: CIFAR, build: vgg_mini },
];

/// The preset with this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The presets' names, for messages.
pub(super) fn names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

/// One dense layer: a baseline that every other network should beat.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes, [`Error::Invalid`](crate::Error::Invalid) for an empty image.
pub fn linear(input: ImageShape, classes: usize) -> Result<Network> {
    Network::builder("linear", input).flatten().dense(classes).build()
}

/// Two 5x5 convolutions of 16 and 32 filters, each with a ReLU and a 2x2 max-pool; dense 128; dense classes.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes and for images of fewer than 4x4 pixels.
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
/// [`Error::Layer`](crate::Error::Layer) for zero classes and for images of fewer than 4x4 pixels.
pub fn vgg_mini(input: ImageShape, classes: usize) -> Result<Network> {
    let features = [32, 64].into_iter().fold(Network::builder("vgg-mini", input), |network, filters| {
        let conv = Conv2d::new(filters, [3, 3]).same();
        network.conv2d(conv).relu().conv2d(conv).relu().max_pool(2)
    });
    classifier(features, classes)
}

fn classifier(features: NetworkBuilder, classes: usize) -> Result<Network> {
    features.flatten().dense(128).relu().dense(classes).build()
}
