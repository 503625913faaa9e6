//! What networks are made of: one file for each type of layer, with everything that belongs to it.
//!
//! A type of layer implements [`LayerType`]: its keys in model files, the shapes and variables that it infers, and how it
//! is lowered, forward and backward, to operations. The file also gives [`NetworkBuilder`](crate::network::NetworkBuilder)
//! a method for it, and a entry that reads it from a model file; one line in `TYPES` registers that.
//! Nothing outside this folder names a type of layer.
//!
//! Composite blocks ([`residual`], [`sequence`], [`conv_block`]) are no layers: building a network expands them.

mod activation;
mod add;
mod batch_norm;
mod bias;
mod conv2d;
pub mod conv_block;
mod dense;
mod flatten;
mod pool;
pub mod residual;
pub mod sequence;
#[cfg(test)]
mod tests;

pub use add::Add;
pub use batch_norm::{Affine, BatchNorm};
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use flatten::Flatten;
pub use pool::Pool;

use std::any::Any;
use std::fmt::Debug;

use ::toml::Value;

use crate::Result;
use crate::network::{Content, Features, Keys, Variable};
use crate::plan::{BufferId, Site};

/// A type of layer with its options.
///
/// The methods are called in this order: [`infer`](LayerType::infer) when a network is built, once;
/// [`forward`](LayerType::forward) when it is lowered to a plan, and [`backward`](LayerType::backward) when the plan is
/// one for training and a gradient is wanted.
pub trait LayerType: Any + Debug + Send + Sync {
    /// The type's name in messages and model files.
    fn type_name(&self) -> &'static str;

    /// What a number is appended to, to name a layer that was given no name.
    fn stem(&self) -> &'static str {
        self.type_name()
    }

    /// Number of layers that it reads.
    fn input_count(&self) -> usize {
        1
    }

    /// The keys that describe it in a model file, beside `type`, `name` and `inputs`; those that hold their defaults are
    /// left out. Layers of the same type and keys are equal.
    fn keys(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// What the layer gives for inputs of these shapes, and its variables, which have short names here: `weight`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for inputs or options that the layer cannot take. Its `operation` may be
    /// anything: the network names the layer in its place.
    fn infer(&self, inputs: &[Features]) -> Result<Inferred>;

    /// How the number of its trained values comes about, for a summary: `5*5*1*16 + 16`.
    fn arithmetic(&self, _variables: &[Variable]) -> Option<String> {
        None
    }

    /// Adds the steps that compute the layer's output to the plan, and returns the output's buffer.
    ///
    /// What backward needs and forward alone knows is saved by [`Site::save`].
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where the batch makes a tensor too large.
    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId>;

    /// Adds the steps that compute the gradients of the layer's trained variables and of the inputs for which
    /// [`Site::grad_input`] gives a buffer, and returns the gradient of each input: none where it is not wanted.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where the batch makes a tensor too large.
    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>>;
}

/// What a layer is, once it knows what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// What it gives for one image.
    pub output: Features,
    /// What belongs to it and outlives a step.
    pub variables: Vec<Variable>,
}

impl Inferred {
    /// A layer without variables.
    pub fn without_variables(output: Features) -> Self {
        Inferred { output, variables: Vec::new() }
    }
}

/// A type of layer, or of composite block, as model files know it.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    /// Value of the key `type`.
    pub name: &'static str,
    /// Its keys beside those that every layer has.
    pub keys: &'static [&'static str],
    /// Reads them.
    pub read: fn(&mut Keys) -> Result<Content>,
}

/// Every type that a model file may name; the order is that of messages.
const TYPES: &[&[Registered]] = &[
    conv2d::TYPES,
    dense::TYPES,
    batch_norm::TYPES,
    activation::TYPES,
    pool::TYPES,
    flatten::TYPES,
    add::TYPES,
    residual::TYPES,
    conv_block::TYPES,
    sequence::TYPES,
];

/// All of [`TYPES`], one after the other.
pub(crate) fn registered() -> impl Iterator<Item = &'static Registered> {
    TYPES.iter().copied().flatten()
}

/// The sizes of a weight and its bias as arithmetic: the outputs, which come first in the weight, come last here.
fn weight_and_bias(variables: &[Variable]) -> Option<String> {
    let factors = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("*");
    let (weight, others) = variables.split_first()?;
    let weight = weight.shape.sizes();
    let product = factors(&[&weight[1..], &weight[..1]].concat());
    Some(if others.is_empty() { product } else { format!("{product} + {}", weight[0]) })
}
