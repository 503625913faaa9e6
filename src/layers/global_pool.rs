//! Pools of the whole image: the maximum or the mean of each channel.

use super::{Inferred, LayerType, Pool, Pytorch, PytorchSite, Registered};
use crate::Result;
use crate::network::{Content, Features, NetworkBuilder};
use crate::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::plan::{BufferId, Site};

pub(super) const TYPES: &[Registered] = &[
    Registered { name: AVERAGE, keys: &[], read: |_| Ok(Content::layer(GlobalPool::Average)) },
    Registered { name: MAX, keys: &[], read: |_| Ok(Content::layer(GlobalPool::Max)) },
];

const AVERAGE: &str = "global_average_pool";
const MAX: &str = "global_max_pool";

/// A pool of the whole image, of any size, to one value for each channel: flat features, as PyTorch's
/// `AdaptiveAvgPool2d(1)` or `AdaptiveMaxPool2d(1)` and `Flatten` give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalPool {
    /// The mean of the channel.
    Average,
    /// The largest value of the channel. A NaN counts as larger than any number.
    Max,
}

impl GlobalPool {
    fn kind(self) -> PoolKind {
        match self {
            GlobalPool::Average => PoolKind::Average,
            GlobalPool::Max => PoolKind::Max,
        }
    }

    fn geometry_at(self, site: &Site<'_>) -> Result<PoolGeometry> {
        let image = site.input_features(0).image_for("an image")?;
        Pool::new(self.kind(), [image.height, image.width]).geometry(site.batch_size(), image)
    }
}

impl LayerType for GlobalPool {
    fn type_name(&self) -> &'static str {
        match self {
            GlobalPool::Average => AVERAGE,
            GlobalPool::Max => MAX,
        }
    }

    fn stem(&self) -> &'static str {
        "pool"
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let image = inputs[0].image_for("an image")?;
        Ok(Inferred::without_variables(Features::Flat { size: image.channels, image: None }))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let function = match self {
            GlobalPool::Average => "mean",
            GlobalPool::Max => "amax",
        };
        Ok(Pytorch::expression(format!("{}.{function}((2, 3))", site.input())))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let geometry = self.geometry_at(site)?;
        let output = site.output([geometry.batch_size, geometry.channels].into());
        site.push(PoolForward { kind: self.kind(), geometry }, &[site.input(), output]);
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let op = PoolGrad::new(self.kind(), self.geometry_at(site)?);
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            match self {
                GlobalPool::Max => site.push(op, &[site.input(), grad_output, grad_input]),
                GlobalPool::Average => site.push(op, &[grad_output, grad_input]),
            }
        }
        Ok(vec![grad_input])
    }
}

impl NetworkBuilder {
    /// Adds a layer that takes the mean of each channel of the image.
    pub fn global_average_pool(self) -> Self {
        self.layer(GlobalPool::Average)
    }

    /// Adds a layer that takes the maximum of each channel of the image.
    pub fn global_max_pool(self) -> Self {
        self.layer(GlobalPool::Max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkFile};
    use crate::tensor::ImageShape;

    #[test]
    fn a_model_file_says_the_same_as_rust_and_back() {
        let image = ImageShape { height: 3, width: 5, channels: 2 };
        let parsed = |layers: &str| {
            NetworkFile::parse(&format!("name = \"test\"\n{layers}")).and_then(|file| file.build(Some(image)))
        };
        for layer in [GlobalPool::Average, GlobalPool::Max] {
            let built = Network::builder("test", image).layer(layer).dense(3).build().unwrap();
            let name = layer.type_name();
            let pool = format!("[[layers]]\ntype = \"{name}\"\n");
            assert_eq!(parsed(&format!("{pool}[[layers]]\ntype = \"dense\"\nunits = 3")).unwrap(), built);
            assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
            assert_eq!(built.layers()[0].output, Features::Flat { size: 2, image: None });
            assert_eq!(built.variables().next().unwrap().shape.sizes(), [3, 2]);
            assert_eq!(
                parsed(&format!("[[layers]]\ntype = \"flatten\"\n{pool}")).unwrap_err().to_string(),
                format!("layer pool1 ({name}): expected an image, found 30 features flattened from 3x5x2")
            );
        }
    }
}
