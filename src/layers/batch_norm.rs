//! Batch normalisation: every channel gets mean 0 and variance 1, and then a scale and a shift that are learnt.

use ::toml::Value;

use super::pytorch::{self, Call};
use super::weighted::{BIAS, WEIGHT, input_rows_and_channels};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, Initialiser, Keys, Kind, Layout, NetworkBuilder, Variable, number};
use crate::ops::norm::{BatchNormForward, BatchNormGrad, BatchNormSize, BatchNormTrain};
use crate::ops::optimizer::Group;
use crate::plan::{BufferId, Mode, Site};
use crate::tensor::Shape;
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: NAME,
    keys: &[&["eps", "momentum", "affine", "scale"]],
    read: |keys| Ok(Content::layer(read(keys)?)),
}];

const NAME: &str = "batch_norm";

// PyTorch's names, of the variables and of what forward saves.
const RUNNING_MEAN: &str = "running_mean";
const RUNNING_VAR: &str = "running_var";
const MEAN: &str = "mean";
const VARIANCE: &str = "variance";

/// A batch normalisation, PyTorch's `BatchNorm2d` of maps and `BatchNorm1d` of flat features:
/// `output = (input - mean) / sqrt(variance + epsilon) * weight + bias`, each channel by itself.
///
/// In training mean and variance are those of the batch, and the running ones follow them; in evaluation they are the
/// running ones, so that an image's output does not depend on the others of its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// What keeps the divisor from zero: above 0.
    pub epsilon: f32,
    /// Share of each batch in the running statistics: from 0 to 1.
    pub momentum: f32,
    /// What is learnt beside the statistics.
    pub affine: Affine,
}

/// What a normalisation does to its normalised values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affine {
    /// Nothing: there is no weight and no bias.
    None,
    /// It adds a bias that is learnt; the weight stays what it was, one or what a file says.
    Shift,
    /// It multiplies by a weight and adds a bias, both learnt.
    ScaleAndShift,
}

impl BatchNorm {
    /// PyTorch's defaults: an epsilon of 1e-5, a momentum of 0.1, and a scale and a shift that are learnt.
    pub fn new() -> Self {
        BatchNorm { epsilon: 1e-5, momentum: 0.1, affine: Affine::ScaleAndShift }
    }

    /// Keeps the divisor from zero by `epsilon`.
    pub fn epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Gives each batch the share `momentum` in the running statistics.
    pub fn momentum(mut self, momentum: f32) -> Self {
        self.momentum = momentum;
        self
    }

    /// Says what is learnt.
    pub fn affine(mut self, affine: Affine) -> Self {
        self.affine = affine;
        self
    }

    /// Whether there are a weight and a bias, learnt or not.
    fn is_affine(&self) -> bool {
        self.affine != Affine::None
    }
}

impl Default for BatchNorm {
    fn default() -> Self {
        BatchNorm::new()
    }
}

fn read(keys: &mut Keys) -> Result<BatchNorm> {
    let default = BatchNorm::new();
    let affine = keys.optional("affine", Keys::boolean)?;
    let scale = keys.optional("scale", Keys::boolean)?;
    let affine = match (affine, scale) {
        (Some(false), Some(true)) => {
            return Err(keys.error("`scale` to be false where `affine` is".into(), "true".into()));
        }
        (Some(false), _) => Affine::None,
        (_, Some(false)) => Affine::Shift,
        _ => Affine::ScaleAndShift,
    };
    Ok(BatchNorm {
        epsilon: keys.optional("eps", Keys::number)?.unwrap_or(default.epsilon),
        momentum: keys.optional("momentum", Keys::number)?.unwrap_or(default.momentum),
        affine,
    })
}

impl LayerType for BatchNorm {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let default = BatchNorm::new();
        let mut keys = Vec::new();
        keys.extend((self.epsilon != default.epsilon).then(|| ("eps", number(self.epsilon))));
        keys.extend((self.momentum != default.momentum).then(|| ("momentum", number(self.momentum))));
        match self.affine {
            Affine::None => keys.push(("affine", false.into())),
            Affine::Shift => keys.push(("scale", false.into())),
            Affine::ScaleAndShift => {}
        }
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(Error::invalid(NAME, "a finite eps above 0", self.epsilon));
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::invalid(NAME, "a momentum from 0 to 1", self.momentum));
        }
        let channels = inputs[0].channels();
        let variable = |name: &str, value: f32, kind: Kind| Variable {
            name: name.into(),
            shape: Shape::new([channels]),
            initialiser: Initialiser::Constant(value),
            fan_in: 1,
            fan_out: 1,
            layout: Layout::of_channels(inputs[0]),
            kind,
        };
        let learnt = Kind::Trained(Group::Norm);
        let mut variables = match self.affine {
            Affine::None => vec![],
            Affine::Shift => vec![variable(WEIGHT, 1.0, Kind::Frozen), variable(BIAS, 0.0, learnt)],
            Affine::ScaleAndShift => vec![variable(WEIGHT, 1.0, learnt), variable(BIAS, 0.0, learnt)],
        };
        variables.push(variable(RUNNING_MEAN, 0.0, Kind::Statistic));
        variables.push(variable(RUNNING_VAR, 1.0, Kind::Statistic));
        Ok(Inferred { output: inputs[0], variables })
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        self.is_affine().then(|| format!("2*{}", variables[0].shape.elements()))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let default = BatchNorm::new();
        let norm = Call::new(match site.features() {
            Features::Image(_) => "nn.BatchNorm2d",
            Features::Flat { .. } => "nn.BatchNorm1d",
        });
        let norm = norm
            .with(site.features().channels())
            .option("eps", pytorch::number(self.epsilon), pytorch::number(default.epsilon))
            .option("momentum", pytorch::number(self.momentum), pytorch::number(default.momentum))
            .flag("affine", self.is_affine(), true);
        Ok(site.module(norm))
    }

    /// In training, the statistics are those of the batch, which the running ones follow.
    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let (size, input) = (self.size(site), site.input());
        let output = site.output(site.shape(input));
        let affine: Vec<BufferId> =
            [WEIGHT, BIAS].iter().filter_map(|name| site.find_variable(name)).collect();
        match site.mode() {
            Mode::Train => {
                if size.rows < 2 {
                    let expected = "at least 2 values of each channel in a training batch";
                    let found = format!("{}: take a larger batch", size.rows);
                    return Err(Error::invalid(NAME, expected, found));
                }
                let [mean, variance] = [MEAN, VARIANCE].map(|word| site.save(word, [size.channels].into()));
                let operands = [&[input, output, mean, variance], &affine[..]].concat();
                site.push(BatchNormTrain::new(size), &operands);
                site.follow(RUNNING_MEAN, mean, self.momentum);
                site.follow(RUNNING_VAR, variance, self.momentum);
            }
            Mode::Evaluate => {
                let [mean, variance] = [RUNNING_MEAN, RUNNING_VAR].map(|name| site.variable(name));
                let operands = [&[input, mean, variance, output], &affine[..]].concat();
                site.push(BatchNormForward::new(size), &operands);
            }
        }
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        if site.mode() == Mode::Evaluate {
            return Ok(self.backward_with_given_statistics(site, grad_output));
        }
        let size = self.size(site);
        let (input, mean, variance) = (site.input(), site.saved(MEAN), site.saved(VARIANCE));
        // The gradient of the input is made of these sums, whoever else wants them.
        let [grad_weight, grad_bias] = [(WEIGHT, "grad_weight"), (BIAS, "grad_bias")].map(|(name, word)| {
            site.grad_variable(name).unwrap_or_else(|| site.save(word, [size.channels].into()))
        });
        let grad_input = site.grad_input(0);
        let mut operands = vec![input, mean, variance, grad_output, grad_weight, grad_bias];
        if let Some(grad_input) = grad_input {
            operands.push(grad_input);
            operands.extend(site.find_variable(WEIGHT));
        }
        site.push(BatchNormGrad::new(size, grad_input.is_some()), &operands);
        Ok(vec![grad_input])
    }
}

impl BatchNorm {
    /// The gradients if the statistics are not the batch's, so that they do not depend on the input: that of the input is
    /// `grad_output / sqrt(variance + epsilon) * weight`.
    fn backward_with_given_statistics(
        &self,
        site: &mut Site<'_>,
        grad_output: BufferId,
    ) -> Vec<Option<BufferId>> {
        let (size, input) = (self.size(site), site.input());
        let [mean, variance] = [RUNNING_MEAN, RUNNING_VAR].map(|name| site.variable(name));
        let wanted = [(WEIGHT, "grad_weight"), (BIAS, "grad_bias")]
            .map(|(name, word)| (site.grad_variable(name), word));
        if wanted.iter().any(|(gradient, _)| gradient.is_some()) {
            let [grad_weight, grad_bias] = wanted
                .map(|(gradient, word)| gradient.unwrap_or_else(|| site.save(word, [size.channels].into())));
            let operands = [input, mean, variance, grad_output, grad_weight, grad_bias];
            site.push(BatchNormGrad::with_given_statistics(size), &operands);
        }
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            // The normalisation of the gradient, without a mean and a bias to add.
            let [no_mean, no_bias] = site.zeros(size.channels);
            let mut operands = vec![grad_output, no_mean, variance, grad_input];
            operands.extend(site.find_variable(WEIGHT).into_iter().flat_map(|weight| [weight, no_bias]));
            site.push(BatchNormForward::new(size), &operands);
        }
        vec![grad_input]
    }

    fn size(&self, site: &Site<'_>) -> BatchNormSize {
        let (rows, channels) = input_rows_and_channels(site);
        BatchNormSize { rows, channels, epsilon: self.epsilon, affine: self.is_affine() }
    }
}

impl NetworkBuilder {
    /// Adds a batch normalisation with PyTorch's defaults; others are a [`BatchNorm`] for
    /// [`layer`](NetworkBuilder::layer).
    pub fn batch_norm(self) -> Self {
        self.layer(BatchNorm::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkFile};
    use crate::ops::optimizer::UpdateOptions;
    use crate::plan::{DataParts, LossOptions, TrainOptions, train_plan};
    use crate::tensor::ImageShape;

    const IMAGE: ImageShape = ImageShape { height: 1, width: 1, channels: 3 };

    fn parsed(layers: &str) -> Result<Network> {
        NetworkFile::parse(&format!("name = \"test\"\n{layers}"))?.build(Some(IMAGE))
    }

    fn batch_norm(keys: &str) -> Result<Network> {
        parsed(&format!("[[layers]]\ntype = \"batch_norm\"\nname = \"bn\"\n{keys}"))
    }

    #[test]
    fn a_model_file_says_the_same_as_rust_and_back() {
        let default = BatchNorm::new();
        for (keys, layer) in [
            ("", default),
            ("affine = true\nscale = true", default),
            ("affine = false", default.affine(Affine::None)),
            ("affine = false\nscale = false", default.affine(Affine::None)),
            ("scale = false", default.affine(Affine::Shift)),
            ("eps = 1e-3\nmomentum = 1", default.epsilon(1e-3).momentum(1.0)),
        ] {
            let built = Network::builder("test", IMAGE).layer(layer).named("bn").build().unwrap();
            assert_eq!(batch_norm(keys).unwrap(), built, "{keys}");
            let written = built.to_toml();
            let read = NetworkFile::parse(&written).unwrap().build(None).unwrap();
            assert_eq!(read, built, "{written}");
            assert_eq!(written.contains("eps"), layer.epsilon != default.epsilon, "{written}");
        }
    }

    #[test]
    fn variables_are_pytorchs() {
        for (keys, expected, arithmetic, count, trained) in [
            ("", "weight bias running_mean running_var", Some("2*3"), 6, 2),
            ("scale = false", "weight bias running_mean running_var", Some("2*3"), 6, 1),
            ("affine = false", "running_mean running_var", None, 0, 0),
        ] {
            let network = batch_norm(keys).unwrap();
            let layer = &network.layers()[0];
            let names: Vec<&str> =
                layer.variables.iter().map(|v| v.name.strip_prefix("bn.").unwrap()).collect();
            assert_eq!(names.join(" "), expected, "{keys}");
            assert_eq!(layer.kind.arithmetic(&layer.variables).as_deref(), arithmetic, "{keys}");
            assert_eq!(network.parameter_count(), count, "{keys}");
            let is_trained = |variable: &&Variable| variable.is_trained();
            assert_eq!(layer.variables.iter().filter(is_trained).count(), trained, "{keys}");
            let weights = network.initial_weights(1).unwrap();
            for variable in &layer.variables {
                let is_one = variable.name.ends_with("weight") || variable.name.ends_with("var");
                assert_eq!(weights.values(variable).unwrap(), [f32::from(is_one); 3], "{}", variable.name);
            }
        }
    }

    #[test]
    fn a_conv_block_takes_it_as_its_norm() {
        let network = parsed(
            "[[layers]]\ntype = \"conv_block\"\nfilters = 4\nkernel_size = 1\nbias = false\n\
             norm = \"batch_norm\"\nactivation = \"relu\"",
        )
        .unwrap();
        let names: Vec<&str> = network.variables().map(|variable| variable.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "conv1.weight",
                "batch_norm1.weight",
                "batch_norm1.bias",
                "batch_norm1.running_mean",
                "batch_norm1.running_var"
            ]
            .map(|name| format!("block1.{name}"))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_line() {
        for (keys, expected) in [
            ("eps = 0", "layer bn (batch_norm): expected a finite eps above 0, found 0"),
            ("eps = nan", "layer bn (batch_norm): expected a finite eps above 0, found NaN"),
            ("momentum = -0.1", "layer bn (batch_norm): expected a momentum from 0 to 1, found -0.1"),
            ("momentum = nan", "layer bn (batch_norm): expected a momentum from 0 to 1, found NaN"),
            (
                "affine = false\nscale = true",
                "layer 1 (batch_norm): expected `scale` to be false where `affine` is, found true",
            ),
        ] {
            assert_eq!(batch_norm(keys).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_training_batch_with_one_value_a_channel_is_refused() {
        let network = Network::builder("test", IMAGE).batch_norm().flatten().dense(2).build().unwrap();
        let plan = |batch_size| {
            let data = DataParts { name: "train", image: IMAGE, classes: 2, rows: vec![4] };
            let update = UpdateOptions::default();
            let plan = train_plan(
                &network,
                &TrainOptions {
                    batch_size,
                    steps: 1,
                    data,
                    loss: LossOptions::default(),
                    update,
                    augment: None,
                },
            )?;
            plan.assert_valid();
            Ok::<(), Error>(())
        };
        plan(2).unwrap();
        assert_eq!(
            plan(1).unwrap_err().to_string(),
            "batch_norm: expected at least 2 values of each channel in a training batch, found 1: take a larger batch"
        );
    }

    /// Flattened features lie in the buffer of their map, which has fewer channels.
    #[test]
    fn flattened_features_have_statistics_of_their_own() {
        let image = ImageShape { height: 2, ..IMAGE };
        let network = Network::builder("test", image).flatten().batch_norm().dense(2).build().unwrap();
        let data = DataParts { name: "train", image, classes: 2, rows: vec![4] };
        let (loss, update) = (LossOptions::default(), UpdateOptions::default());
        let options = TrainOptions { batch_size: 4, steps: 1, data, loss, update, augment: None };
        train_plan(&network, &options).unwrap().assert_valid();
        let weight = network.variables().next().unwrap();
        assert_eq!(
            weight.to_pytorch(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().data(),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
    }

    /// The gradient of the input needs the sums that nobody else wants.
    #[test]
    fn frozen_parameters_still_let_the_gradient_through() {
        let image = ImageShape { height: 4, ..IMAGE };
        let network =
            Network::builder("test", image).flatten().dense(5).batch_norm().dense(2).build().unwrap();
        let network = network.freeze(&["batch_norm1.*".into()]).unwrap();
        let data = DataParts { name: "train", image, classes: 2, rows: vec![4] };
        let options = TrainOptions {
            batch_size: 4,
            steps: 1,
            data,
            loss: LossOptions::default(),
            update: UpdateOptions::default(),
            augment: None,
        };
        let plan = train_plan(&network, &options).unwrap();
        plan.assert_valid();
        assert!(plan.find("dense1.weight.grad").is_some() && plan.find("batch_norm1.weight.grad").is_none());
    }
}
