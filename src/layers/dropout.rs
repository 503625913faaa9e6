//! Dropout: values set to zero at random in training.

use ::toml::Value;

use super::pytorch::{self, Call};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::Result;
use crate::network::{Content, Features, Keys, NetworkBuilder, number};
use crate::ops::dropout;
use crate::plan::{BufferId, Mode, Site};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: NAME,
    keys: &[&[PROBABILITY]],
    read: |keys| {
        let probability = keys.optional(PROBABILITY, Keys::number)?;
        Ok(Content::layer(probability.map_or_else(Dropout::default, Dropout::new)))
    },
}];

const NAME: &str = "dropout";

// PyTorch's name.
const PROBABILITY: &str = "p";

/// Dropout: in training, sets each value to zero with a given probability, and divides the others by the probability of
/// keeping them, as PyTorch's `Dropout`; in evaluation, it changes nothing.
///
/// Which values are dropped depends on the seed, the epoch, the step, the layer and the position alone: they are the same on
/// every device, and the same after a training was resumed. See [`dropout::Dropout`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that a value becomes zero: at least 0 and below 1.
    pub probability: f32,
}

impl Dropout {
    /// Dropout with this probability of zero.
    pub fn new(probability: f32) -> Self {
        Dropout { probability }
    }

    /// Whether it changes nothing.
    fn is_identity(&self, site: &Site<'_>) -> bool {
        site.mode() == Mode::Evaluate || self.probability == 0.0
    }

    /// Adds a step that drops values of `from`, of the layer's output or of its gradient, and writes the others to `to`.
    fn drop_values(&self, site: &mut Site<'_>, from: BufferId, to: BufferId) -> Result<()> {
        let elements = site.shape(from).elements();
        let op = dropout::Dropout::new(elements, self.probability, site.number())?;
        let [step, chance] = site.chance();
        site.push(op, &[from, step, chance, to]);
        Ok(())
    }
}

/// PyTorch's default, a probability of one half.
impl Default for Dropout {
    fn default() -> Self {
        Dropout::new(0.5)
    }
}

impl LayerType for Dropout {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let is_default = *self == Dropout::default();
        (!is_default).then(|| (PROBABILITY, number(self.probability))).into_iter().collect()
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        dropout::Dropout::new(inputs[0].elements(), self.probability, 0)?;
        Ok(Inferred::without_variables(inputs[0]))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        Ok(site.module(Call::new("nn.Dropout").with(pytorch::number(self.probability))))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let input = site.input();
        if self.is_identity(site) {
            return Ok(input);
        }
        let output = site.output(site.shape(input));
        self.drop_values(site, input, output)?;
        Ok(output)
    }

    /// The same values are dropped of the gradient.
    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        if self.is_identity(site) {
            return Ok(vec![Some(grad_output)]);
        }
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            self.drop_values(site, grad_output, grad_input)?;
        }
        Ok(vec![grad_input])
    }
}

impl NetworkBuilder {
    /// Adds a layer that sets each value to zero with this probability, in training alone.
    pub fn dropout(self, probability: f32) -> Self {
        self.layer(Dropout::new(probability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkFile};
    use crate::plan::predict_plan;
    use crate::tensor::ImageShape;

    const IMAGE: ImageShape = ImageShape { height: 2, width: 3, channels: 1 };

    fn dropout(keys: &str) -> Result<Network> {
        let text = format!("name = \"test\"\n[[layers]]\ntype = \"dropout\"\n{keys}");
        NetworkFile::parse(&text)?.build(Some(IMAGE))
    }

    #[test]
    fn a_model_file_says_the_same_as_rust_and_back() {
        for (keys, layer) in
            [("", Dropout::new(0.5)), ("p = 0", Dropout::new(0.0)), ("p = 0.9", Dropout::new(0.9))]
        {
            let built = Network::builder("test", IMAGE).layer(layer).build().unwrap();
            assert_eq!(dropout(keys).unwrap(), built);
            assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
        }
        for (keys, found) in [("p = 1", "1"), ("p = -0.5", "-0.5"), ("p = nan", "NaN")] {
            let error = dropout(keys).unwrap_err().to_string();
            let expected = "layer dropout1 (dropout): expected a probability of at least 0 and below 1";
            assert_eq!(error, format!("{expected}, found {found}"));
        }
    }

    /// Even where a sum reads both what is renamed and what it is renamed to.
    #[test]
    fn an_evaluation_has_no_step_for_it() {
        let network = Network::builder("test", IMAGE)
            .residual(|path| path.dropout(0.5))
            .flatten()
            .dense(2)
            .build()
            .unwrap();
        let plan = predict_plan(&network, 3).unwrap();
        plan.assert_valid();
        let names: Vec<&str> = plan.steps().map(|step| step.op.name()).collect();
        assert_eq!(names, ["concatenate.forward", "add", "dense.forward", "bias.forward"]);
    }
}
