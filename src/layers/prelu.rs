//! Leaky ReLUs whose slopes are learnt.

use ::toml::Value;

use super::pytorch::{self, Call};
use super::weighted::{WEIGHT, input_rows_and_channels};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, Initialiser, Keys, Kind, Layout, NetworkBuilder, Variable, number};
use crate::ops::optimizer::Group;
use crate::ops::prelu::{PreluForward, PreluGradInput, PreluGradWeight};
use crate::plan::{BufferId, Site};
use crate::tensor::Shape;
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: NAME,
    keys: &[&["slope"]],
    read: |keys| {
        let slope = keys.optional("slope", Keys::number)?.unwrap_or(Prelu::new().slope);
        Ok(Content::layer(Prelu { slope }))
    },
}];

const NAME: &str = "prelu";

/// A leaky ReLU with a slope for each channel that is learnt, PyTorch's `PReLU` with as many parameters as channels:
/// `output = input` where that is above 0, else `weight * input`.
///
/// The slopes are trained as the parameters of normalisations are: by default without weight decay, which would pull them
/// towards those of a plain ReLU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prelu {
    /// The slope that each channel starts with.
    pub slope: f32,
}

impl Prelu {
    /// PyTorch's default: slopes start at 0.25.
    pub fn new() -> Self {
        Prelu { slope: 0.25 }
    }
}

impl Default for Prelu {
    fn default() -> Self {
        Prelu::new()
    }
}

impl LayerType for Prelu {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        (*self != Prelu::new()).then(|| ("slope", number(self.slope))).into_iter().collect()
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        if !self.slope.is_finite() {
            return Err(Error::invalid(NAME, "a finite slope", self.slope));
        }
        let weight = Variable {
            name: WEIGHT.into(),
            shape: Shape::new([inputs[0].channels()]),
            initialiser: Initialiser::Constant(self.slope),
            fan_in: 1,
            fan_out: 1,
            layout: Layout::of_channels(inputs[0]),
            kind: Kind::Trained(Group::Norm),
        };
        Ok(Inferred { output: inputs[0], variables: vec![weight] })
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        Some(variables[0].shape.elements().to_string())
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let prelu = Call::new("nn.PReLU").with(site.features().channels());
        let (slope, default) = (pytorch::number(self.slope), pytorch::number(Prelu::new().slope));
        Ok(site.module(prelu.option("init", slope, default)))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let shape = site.shape(site.input());
        let (rows, channels) = input_rows_and_channels(site);
        let output = site.output(shape);
        site.push(PreluForward { rows, channels }, &[site.input(), site.variable(WEIGHT), output]);
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let (rows, channels) = input_rows_and_channels(site);
        if let Some(grad_weight) = site.grad_variable(WEIGHT) {
            site.push(PreluGradWeight { rows, channels }, &[site.input(), grad_output, grad_weight]);
        }
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            let operands = [site.input(), site.variable(WEIGHT), grad_output, grad_input];
            site.push(PreluGradInput { rows, channels }, &operands);
        }
        Ok(vec![grad_input])
    }
}

impl NetworkBuilder {
    /// Adds leaky ReLUs with a slope for each channel that is learnt; another start than 0.25 is a [`Prelu`] for
    /// [`layer`](NetworkBuilder::layer).
    pub fn prelu(self) -> Self {
        self.layer(Prelu::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkFile};
    use crate::tensor::{ImageShape, Tensor};

    const IMAGE: ImageShape = ImageShape { height: 1, width: 2, channels: 3 };

    fn prelu(keys: &str) -> Result<Network> {
        let text = format!("name = \"test\"\n[[layers]]\ntype = \"prelu\"\n{keys}");
        NetworkFile::parse(&text)?.build(Some(IMAGE))
    }

    #[test]
    fn a_model_file_says_the_same_as_rust_and_back() {
        for (keys, layer) in [("", Prelu::new()), ("slope = -0.5", Prelu { slope: -0.5 })] {
            let built = Network::builder("test", IMAGE).layer(layer).build().unwrap();
            assert_eq!(prelu(keys).unwrap(), built);
            assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
            let weight = &built.layers()[0].variables[0];
            assert_eq!((weight.name.as_str(), built.parameter_count()), ("prelu1.weight", 3));
            assert_eq!(built.initial_weights(1).unwrap().values(weight).unwrap(), [layer.slope; 3]);
        }
        let found = prelu("slope = nan").unwrap_err().to_string();
        assert_eq!(found, "layer prelu1 (prelu): expected a finite slope, found NaN");
    }

    /// A flattened map has its features in another order than in PyTorch.
    #[test]
    fn slopes_of_flattened_features_are_in_pytorchs_order() {
        let network = Network::builder("test", IMAGE).flatten().prelu().build().unwrap();
        let weight = network.variables().next().unwrap();
        let inside = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let outside = Tensor::new([6], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]).unwrap();
        assert_eq!(weight.to_pytorch(&inside).unwrap(), outside);
        assert_eq!(weight.from_pytorch(&outside).unwrap(), inside);
    }
}
