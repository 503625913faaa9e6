//! A map whose channels are multiplied by factors that another layer computes.

use std::ops::RangeInclusive;

use super::pytorch::channels_first;
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, NetworkBuilder};
use crate::ops::multiply::{self, MultiplyGradFactors};
use crate::plan::{BufferId, Site};
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: NAME, keys: &[], read: |_| Ok(Content::layer(Multiply)) }];

const NAME: &str = "multiply";

/// A map, the first input, each of whose channels is multiplied by a factor of its own for each image: the second input,
/// flat features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiply;

impl Multiply {
    fn op(self, site: &Site<'_>) -> multiply::Multiply {
        let (samples, channels) = (site.batch_size(), site.input_features(0).channels());
        multiply::Multiply { samples, rows: site.input_features(0).elements() / channels, channels }
    }
}

impl LayerType for Multiply {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn input_counts(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let channels = inputs[0].channels();
        // PyTorch would have the features of a flattened map in another order.
        if inputs[1] != (Features::Flat { size: channels, image: None }) {
            let expected = format!("{channels} flat features as its second input, one for each channel");
            return Err(Error::invalid(NAME, expected, inputs[1]));
        }
        Ok(Inferred::without_variables(inputs[0]))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let factors = site.inputs[1].0;
        let factors = match site.features() {
            Features::Image(_) => format!("{factors}[:, :, None, None]"),
            Features::Flat { image: Some(image), .. } => channels_first(factors, image),
            Features::Flat { image: None, .. } => factors.into(),
        };
        Ok(Pytorch::expression(format!("{} * {factors}", site.input())))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let (input, factors) = (site.inputs()[0], site.inputs()[1]);
        let output = site.output(site.shape(input));
        site.push(self.op(site), &[input, factors, output]);
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let (input, factors) = (site.inputs()[0], site.inputs()[1]);
        let op = self.op(site);
        let grad_factors = site.grad_input(1);
        if let Some(grad_factors) = grad_factors {
            let multiply::Multiply { samples, rows, channels } = op;
            let op = MultiplyGradFactors { samples, rows, channels };
            site.push(op, &[input, grad_output, grad_factors]);
        }
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            site.push(op, &[grad_output, factors, grad_input]);
        }
        Ok(vec![grad_input, grad_factors])
    }
}

impl NetworkBuilder {
    /// Adds a layer that multiplies the channels of layer `map` by the previous layer's features.
    pub fn multiply(self, map: impl Into<String>) -> Self {
        self.layer_of(Multiply, [Some(map.into()), None])
    }
}
