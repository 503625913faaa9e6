//! The parts of networks: each type of layer has a file of its own, with everything that belongs to it.
//!
//! A type of layer implements [`LayerType`]: its keys in model files, the shapes and variables that it infers, how PyTorch
//! writes it, and its lowering, forward and backward, to operations. The file also gives
//! [`NetworkBuilder`](crate::network::NetworkBuilder) a method for it, and an entry that reads it from a model file;
//! one line in `TYPES` registers that entry. No code outside this folder names a type of layer.
//!
//! Composite blocks ([`residual`], [`sequence`], [`conv_block`], [`depthwise_separable`], [`squeeze_excite`]) are not layers: building a network expands them.

mod activation;
mod add;
mod batch_norm;
mod concatenate;
mod conv2d;
pub mod conv_block;
mod dense;
mod depthwise_conv2d;
pub mod depthwise_separable;
mod dropout;
mod flatten;
mod global_pool;
mod group_norm;
mod multiply;
mod pool;
mod prelu;
mod pytorch;
pub mod residual;
pub mod sequence;
pub mod squeeze_excite;
#[cfg(test)]
mod tests;
mod weighted;
mod whitening;

pub use add::Add;
pub use batch_norm::{Affine, BatchNorm};
pub use concatenate::Concatenate;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_pool::GlobalPool;
pub use group_norm::{GroupNorm, LayerNorm};
pub use multiply::Multiply;
pub use pool::Pool;
pub use prelu::Prelu;
pub(crate) use pytorch::channels_last;
pub use pytorch::{Pytorch, PytorchSite};
pub use whitening::Whitening;

use std::any::Any;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use ::toml::Value;

use crate::Result;
use crate::network::{Content, Features, Keys, Sample, Variable};
use crate::ops::window::Axis;
use crate::plan::{BufferId, Site};

/// A type of layer with its options.
///
/// The methods are called in this order: [`infer`](LayerType::infer) once, when a network is built;
/// [`forward`](LayerType::forward) when it is lowered to a plan; and [`backward`](LayerType::backward) if the plan is
/// for training and a gradient is needed.
pub trait LayerType: Any + Debug + Send + Sync {
    /// The type's name in messages and model files.
    fn type_name(&self) -> &'static str;

    /// The name of an unnamed layer, to which a number is appended.
    fn stem(&self) -> &'static str {
        self.type_name()
    }

    /// The numbers of layers that it can read.
    fn input_counts(&self) -> RangeInclusive<usize> {
        1..=1
    }

    /// The keys that describe it in a model file, beside `type`, `name` and `inputs`; keys that hold their defaults
    /// are left out. Layers of the same type and keys are equal.
    fn keys(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// The layer's output shape for inputs of these shapes, and its variables, with short names: `weight`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for inputs or options that the layer cannot accept. The network
    /// replaces the error's `operation` by the layer.
    fn infer(&self, inputs: &[Features]) -> Result<Inferred>;

    /// How its number of trained values is computed, for a summary: `5*5*1*16 + 16`.
    fn arithmetic(&self, _variables: &[Variable]) -> Option<String> {
        None
    }

    /// Whether it computes variables from training images before the first step. Such a layer reads the network's images
    /// themselves.
    fn is_fitted(&self) -> bool {
        false
    }

    /// The variables that a [fitted](LayerType::is_fitted) layer computes from training images: their short names, and their
    /// values in the internal layout.
    fn fit(&self, _sample: &Sample<'_>) -> Vec<(&'static str, Vec<f32>)> {
        Vec::new()
    }

    /// The windows, down and across, of its input on which the values of its output depend; `None` if each depends on those
    /// at its own position alone, or on all of them.
    fn windows(&self, _input: Features) -> Option<[Axis; 2]> {
        None
    }

    /// The layer as PyTorch writes it, with the names and layouts of its variables in weights' files.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for inputs that the layer cannot accept.
    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch>;

    /// Adds the steps that compute the layer's output to the plan, and returns the output's buffer.
    ///
    /// Results beside the output that backward needs are saved by [`Site::save`].
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if a tensor becomes too large with this batch size.
    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId>;

    /// Adds the steps that compute the gradients of the layer's trained variables and of the inputs for which
    /// [`Site::grad_input`] gives a buffer, and returns the gradient of each input: `None` if it is not needed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if a tensor becomes too large with this batch size.
    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>>;
}

/// The properties of a layer that depend on its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// The shape of its output for one image.
    pub output: Features,
    /// The tensors that belong to it and outlive a step.
    pub variables: Vec<Variable>,
}

impl Inferred {
    /// A layer without variables.
    pub fn without_variables(output: Features) -> Self {
        Inferred { output, variables: Vec::new() }
    }
}

/// A type of layer or of composite block, as registered for model files.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    /// Value of the key `type`.
    pub name: &'static str,
    /// Lists of its keys, beside those that every layer has.
    pub keys: &'static [&'static [&'static str]],
    /// Reads them.
    pub read: fn(&mut Keys) -> Result<Content>,
}

/// Every type that a model file may name, in the order of messages.
const TYPES: &[&[Registered]] = &[
    conv2d::TYPES,
    dense::TYPES,
    depthwise_conv2d::TYPES,
    whitening::TYPES,
    batch_norm::TYPES,
    group_norm::TYPES,
    activation::TYPES,
    prelu::TYPES,
    pool::TYPES,
    global_pool::TYPES,
    flatten::TYPES,
    add::TYPES,
    concatenate::TYPES,
    multiply::TYPES,
    dropout::TYPES,
    residual::TYPES,
    conv_block::TYPES,
    depthwise_separable::TYPES,
    squeeze_excite::TYPES,
    sequence::TYPES,
];

/// All entries of [`TYPES`].
pub(crate) fn registered() -> impl Iterator<Item = &'static Registered> {
    TYPES.iter().copied().flatten()
}
