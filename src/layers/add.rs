//! The sum of two layers: where the paths of a residual block meet.

use std::ops::RangeInclusive;

use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, NetworkBuilder};
use crate::ops::add;
use crate::plan::{BufferId, Site};
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: "add", keys: &[], read: |_| Ok(Content::layer(Add)) }];

/// The sum of two layers of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add;

impl LayerType for Add {
    fn type_name(&self) -> &'static str {
        "add"
    }

    fn input_counts(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        // PyTorch would add two vectors of the same size in another order if they come from different maps.
        if inputs[0] != inputs[1] {
            let found = format!("{} and {}", inputs[0], inputs[1]);
            return Err(Error::invalid("add", "two inputs of the same shape", found));
        }
        Ok(Inferred::without_variables(inputs[0]))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        Ok(Pytorch::expression(format!("{} + {}", site.inputs[0].0, site.inputs[1].0)))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let (a, b) = (site.inputs()[0], site.inputs()[1]);
        let shape = site.shape(a);
        let elements = shape.elements();
        let output = site.output(shape);
        site.push(add::Add { elements }, &[a, b, output]);
        Ok(output)
    }

    /// The gradient of either input is that of the sum; it is only read, so all can share its buffer.
    fn backward(&self, _: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        Ok(vec![Some(grad_output); 2])
    }
}

impl NetworkBuilder {
    /// Adds a layer that sums the previous one and layer `other`: the end of a residual block.
    #[expect(clippy::should_implement_trait, reason = "named like every other layer's type")]
    pub fn add(self, other: impl Into<String>) -> Self {
        self.layer_of(Add, [None, Some(other.into())])
    }
}
