//! Flattening a feature map to a vector.

use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::Result;
use crate::network::{Content, Features, NetworkBuilder};
use crate::plan::{BufferId, Site};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: "flatten", keys: &[], read: |_| Ok(Content::layer(Flatten)) }];

/// Flattens an image, in the order height, width, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten;

impl LayerType for Flatten {
    fn type_name(&self) -> &'static str {
        "flatten"
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let image = inputs[0].image_for("an image to lay flat")?;
        let is_ordered = image.height * image.width > 1;
        let output = Features::Flat { size: image.elements(), image: is_ordered.then_some(image) };
        Ok(Inferred::without_variables(output))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        Ok(site.module("nn.Flatten()"))
    }

    /// The map is flat in memory already.
    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        Ok(site.input())
    }

    fn backward(&self, _: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        Ok(vec![Some(grad_output)])
    }
}

impl NetworkBuilder {
    /// Adds a layer that flattens an image.
    pub fn flatten(self) -> Self {
        self.layer(Flatten)
    }
}
