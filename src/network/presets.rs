//! Networks with a name.

use super::{Initialiser, Network, NetworkBuilder};
use crate::Result;
use crate::layers::{Affine, BatchNorm, Conv2d, Dense, DepthwiseConv2d};
use crate::ops::activation::Activation;
use crate::ops::window::Padding;
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

/// The presets: for digits first, then for colours, in the order of their depth.
pub const PRESETS: [Preset; 10] = [
    Preset { name: "linear", image: MNIST, build: linear },
    Preset { name: "lenet", image: MNIST, build: lenet },
    Preset { name: "mnist-fast", image: MNIST, build: mnist_fast },
    Preset { name: "mnist-best", image: MNIST, build: mnist_best },
    Preset { name: "vgg-mini", image: CIFAR, build: vgg_mini },
    Preset { name: "resnet8", image: CIFAR, build: resnet8 },
    Preset { name: "mobilenet-mini", image: CIFAR, build: mobilenet_mini },
    Preset { name: "resnet20", image: CIFAR, build: resnet20 },
    Preset { name: "cifar-fast-small", image: CIFAR, build: cifar_fast_small },
    Preset { name: "cifar-fast", image: CIFAR, build: cifar_fast },
];

/// The preset with this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The presets' names, for messages.
pub fn names() -> String {
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

/// A 5x5 convolution of 24 filters and a 3x3 one of 32, without padding, each with a 2x2 max-pool and a ReLU; dense 256 and
/// a ReLU; dense classes. 215,194 parameters for digits.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes and for images of fewer than 10x10 pixels.
///
/// # Source
/// `tuomaso/train_mnist_fast`, of which 99 % of MNIST takes one epoch.
pub fn mnist_fast(input: ImageShape, classes: usize) -> Result<Network> {
    Network::builder("mnist-fast", input)
        .conv2d(Conv2d::new(24, [5, 5]))
        .max_pool(2)
        .relu()
        .conv2d(Conv2d::new(32, [3, 3]))
        .max_pool(2)
        .relu()
        .flatten()
        .dense(256)
        .relu()
        .dense(classes)
        .build()
}

/// Three pairs of 3x3 convolutions of 32, 64 and 128 filters, a batch normalisation and a ReLU after each and a 2x2 max-pool
/// after the first two pairs; a global average pool; dropout; dense classes.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes and for images of fewer than 4x4 pixels.
pub fn mnist_best(input: ImageShape, classes: usize) -> Result<Network> {
    let pair = |network, filters| {
        let conv = conv3(filters);
        normalised(normalised(network, conv).relu(), conv).relu()
    };
    let network = pair(Network::builder("mnist-best", input), 32).max_pool(2);
    let network = pair(pair(network, 64).max_pool(2), 128);
    network.global_average_pool().dropout(0.25).dense(classes).build()
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

/// The residual network of 8 layers for CIFAR-10: [`resnet20`] with one block in each stage, 78,042 parameters for ten
/// classes.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes.
pub fn resnet8(input: ImageShape, classes: usize) -> Result<Network> {
    resnet("resnet8", input, classes, 1)
}

/// The residual network of 20 layers for CIFAR-10: a 3x3 convolution of 16 filters; three stages of three residual blocks,
/// of 16, 32 and 64 filters, the first block of the second and third stage with a stride of 2; a global average pool; dense
/// classes. A block is two 3x3 convolutions, each with a batch normalisation, and a ReLU after the first and after the sum;
/// where the shape changes, the input of the sum passes a 1x1 convolution with a batch normalisation. 272,474 parameters for
/// ten classes.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes.
///
/// # Source
/// He et al. 2015, "Deep Residual Learning for Image Recognition", section 4.2, with projections (option B).
pub fn resnet20(input: ImageShape, classes: usize) -> Result<Network> {
    resnet("resnet20", input, classes, 3)
}

fn resnet(name: &str, input: ImageShape, classes: usize, blocks: usize) -> Result<Network> {
    let stem = normalised(Network::builder(name, input), conv3(16)).relu();
    let features = [16, 32, 64].into_iter().enumerate().fold(stem, |network, (stage, filters)| {
        (0..blocks).fold(network, |network, block| {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let conv = conv3(filters);
            let path = |path| normalised(normalised(path, conv.stride([stride; 2])).relu(), conv);
            let projection = Conv2d::new(filters, [1, 1]).stride([stride; 2]).without_bias();
            let network = match stride {
                1 => network.residual(path),
                _ => network.residual_with(path, |shortcut| {
                    normalised(shortcut, projection.initialiser(INITIALISER))
                }),
            };
            network.relu()
        })
    });
    features.global_average_pool().dense(classes).build()
}

/// A small MobileNet: a 3x3 convolution of 32 filters, and five blocks of a depthwise and a 1x1 convolution, of 64, 128,
/// 128, 256 and 256 filters, the second and the fourth with a stride of 2; a batch normalisation and a ReLU after each
/// convolution; a global average pool; dense classes.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes.
///
/// # Source
/// The blocks are those of Howard et al. 2017, "MobileNets".
pub fn mobilenet_mini(input: ImageShape, classes: usize) -> Result<Network> {
    let stem = normalised(Network::builder("mobilenet-mini", input), conv3(32)).relu();
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)];
    let features = blocks.into_iter().fold(stem, |network, (filters, stride)| {
        let mut depthwise = DepthwiseConv2d::new([3, 3]).stride([stride; 2]).without_bias();
        depthwise.window.padding = AROUND;
        depthwise.initialiser = INITIALISER;
        let pointwise = Conv2d::new(filters, [1, 1]).without_bias().initialiser(INITIALISER);
        let network = network.depthwise_conv2d(depthwise).layer(BatchNorm::new()).relu();
        normalised(network, pointwise).relu()
    });
    features.global_average_pool().dense(classes).build()
}

/// The network that learns CIFAR-10 to 94 % in ten epochs: a 2x2 whitening of 24 filters; three groups of 64, 256 and 256
/// filters, each a 3x3 convolution, a 2x2 max-pool, and another 3x3 convolution; a 3x3 max-pool; dense classes. Batch
/// normalisations learn a shift alone; a GELU follows the whitening and each of them. 1,971,640 parameters for ten classes, beside the norms' scales, which stay one.
///
/// # Errors
/// [`Error::Layer`](crate::Error::Layer) for zero classes and for images of fewer than 25x25 pixels.
///
/// # Source
/// Keller Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (airbench).
pub fn cifar_fast(input: ImageShape, classes: usize) -> Result<Network> {
    airbench("cifar-fast", input, classes, [64, 256, 256])
}

/// [`cifar_fast`] with 64, 128 and 128 filters: 93 % at half of the work. 568,888 parameters for ten classes, beside the norms'
/// scales.
///
/// # Errors
/// As [`cifar_fast`].
pub fn cifar_fast_small(input: ImageShape, classes: usize) -> Result<Network> {
    airbench("cifar-fast-small", input, classes, [64, 128, 128])
}

fn airbench(name: &str, input: ImageShape, classes: usize, filters: [usize; 3]) -> Result<Network> {
    let conv = |filters| conv3(filters).initialiser(Initialiser::Dirac);
    let norm = BatchNorm::new().epsilon(1e-12).momentum(0.4).affine(Affine::Shift);
    let gelu = |network: NetworkBuilder| network.activation(Activation::Gelu);
    let first = gelu(Network::builder(name, input).whitening([2, 2]));
    let features = filters.into_iter().fold(first, |network, filters| {
        let network = gelu(network.conv2d(conv(filters)).max_pool(2).layer(norm));
        gelu(network.conv2d(conv(filters)).layer(norm))
    });
    let head = Dense::new(classes).without_bias().initialiser(Initialiser::PytorchDefault);
    features.max_pool(3).flatten().dense(head).scale(1.0 / 9.0).build()
}

/// What He et al. start from: for the ReLU behind a convolution.
const INITIALISER: Initialiser = Initialiser::HeNormal;

/// One pixel all around, as PyTorch's users write it: with a stride of 2, Keras's `same` would pad two sides alone.
const AROUND: Padding = Padding::Symmetric([1, 1]);

/// A 3x3 convolution, without a bias since a normalisation follows.
fn conv3(filters: usize) -> Conv2d {
    Conv2d::new(filters, [3, 3]).padding(AROUND).without_bias().initialiser(INITIALISER)
}

fn normalised(network: NetworkBuilder, conv: Conv2d) -> NetworkBuilder {
    network.conv2d(conv).batch_norm()
}

fn classifier(features: NetworkBuilder, classes: usize) -> Result<Network> {
    features.flatten().dense(128).relu().dense(classes).build()
}
