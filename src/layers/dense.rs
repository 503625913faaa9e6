//! A dense layer: every output reads every input.

use ::toml::Value;

use super::pytorch::Call;
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered, weighted};
use crate::network::{
    Content, Features, Initialiser, Keys, Kind, Layout, NetworkBuilder, Variable, initialiser,
};
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use crate::ops::optimizer::Group;
use crate::plan::{BufferId, Site};
use crate::tensor::Shape;
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: "dense",
    keys: &[&["units", "bias", "initializer"]],
    read: |keys| Ok(Content::layer(read(keys)?)),
}];

/// A dense layer, `output[o] = sum over i of weight[o,i] * input[i] + bias[o]`; with a bias by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dense {
    /// O: the number of outputs.
    pub units: usize,
    /// Whether a bias is added to each output.
    pub bias: bool,
    /// How the weight is initialised; biases start at zero.
    pub initialiser: Initialiser,
}

impl Dense {
    /// A dense layer of `units` outputs.
    pub fn new(units: usize) -> Self {
        Dense { units, bias: true, initialiser: Initialiser::default() }
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Sets how the weight is initialised.
    pub fn initialiser(mut self, initialiser: Initialiser) -> Self {
        self.initialiser = initialiser;
        self
    }

    fn size_at(&self, site: &Site<'_>) -> Result<DenseSize> {
        DenseSize::new(site.batch_size(), site.input_features(0).elements(), self.units)
    }
}

impl From<usize> for Dense {
    fn from(units: usize) -> Self {
        Dense::new(units)
    }
}

fn read(keys: &mut Keys) -> Result<Dense> {
    let default = Dense::new(keys.required("units", Keys::size)?);
    Ok(Dense {
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        initialiser: keys.optional("initializer", Keys::initialiser)?.unwrap_or_default(),
        ..default
    })
}

impl LayerType for Dense {
    fn type_name(&self) -> &'static str {
        "dense"
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = vec![("units", Value::from(self.units as i64))];
        keys.extend((!self.bias).then(|| ("bias", Value::from(false))));
        keys.extend(initialiser::key(self.initialiser));
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        self.initialiser.check()?;
        let Features::Flat { size, image } = inputs[0] else {
            return Err(Error::invalid("dense", "flat features (put a flatten before it)", inputs[0]));
        };
        if self.units == 0 {
            return Err(Error::invalid("dense", "units of at least 1", self.units));
        }
        let weight = Variable {
            name: weighted::WEIGHT.into(),
            shape: Shape::checked("dense", [self.units, size])?,
            initialiser: self.initialiser,
            fan_in: size,
            fan_out: self.units,
            layout: Layout::Dense { image },
            kind: Kind::Trained(Group::Weight),
        };
        let output = Features::Flat { size: self.units, image: None };
        Ok(Inferred { output, variables: weighted::with_bias(weight, self.bias) })
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        weighted::arithmetic(variables)
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let features = site.features().elements();
        Ok(site.module(Call::new("nn.Linear").with(features).with(self.units).flag("bias", self.bias, true)))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let size = self.size_at(site)?;
        let shape = [size.batch_size, size.out_features].into();
        Ok(weighted::forward(site, shape, DenseForward::new(size)))
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let size = self.size_at(site)?;
        let (of_weight, of_input) = (DenseGradWeight::new(size), DenseGradInput::new(size));
        Ok(weighted::backward(site, grad_output, of_weight, of_input))
    }
}

impl NetworkBuilder {
    /// Adds a dense layer, given as a number of units or a [`Dense`].
    pub fn dense(self, dense: impl Into<Dense>) -> Self {
        self.layer(dense.into())
    }
}
