//! Normalisation of each image by itself: of groups of its channels, or of the channels of each pixel.

use ::toml::Value;

use super::pytorch::{self, Call};
use super::weighted::{BIAS, WEIGHT, input_rows_and_channels};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, Initialiser, Keys, Kind, Layout, NetworkBuilder, Variable, number};
use crate::ops::bias::BiasGrad;
use crate::ops::norm::{
    GroupNormForward, GroupNormGradInput, GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics,
    GroupSize,
};
use crate::ops::optimizer::Group;
use crate::plan::{BufferId, Site};
use crate::tensor::Shape;
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] = &[
    Registered {
        name: GROUP_NORM,
        keys: &[&["groups"], OPTIONS],
        read: |keys| {
            let groups = keys.required("groups", Keys::size)?;
            let (epsilon, affine) = read_options(keys)?;
            Ok(Content::layer(GroupNorm { groups, epsilon, affine }))
        },
    },
    Registered {
        name: LAYER_NORM,
        keys: &[OPTIONS],
        read: |keys| {
            let (epsilon, affine) = read_options(keys)?;
            Ok(Content::layer(LayerNorm { epsilon, affine }))
        },
    },
];

const GROUP_NORM: &str = "group_norm";
const LAYER_NORM: &str = "layer_norm";

const OPTIONS: &[&str] = &["eps", "affine"];

// What forward saves.
const MEAN: &str = "mean";
const VARIANCE: &str = "variance";

/// PyTorch's default of both.
const EPSILON: f32 = 1e-5;

/// A group normalisation, PyTorch's `GroupNorm`: the channels of each image are divided into groups of neighbours, and the
/// values of a group, over all pixels, get mean 0 and variance 1; then each channel has a weight and a bias that are learnt.
///
/// It is the same in training and in evaluation, and does not depend on the other images of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Number of groups, which divides the number of channels.
    pub groups: usize,
    /// What keeps the divisor from zero: above 0.
    pub epsilon: f32,
    /// Whether there are a weight and a bias.
    pub affine: bool,
}

impl GroupNorm {
    /// A normalisation of `groups` groups with PyTorch's defaults: an epsilon of 1e-5, a weight and a bias.
    pub fn new(groups: usize) -> Self {
        GroupNorm { groups, epsilon: EPSILON, affine: true }
    }
}

/// A layer normalisation of channels: the channels of each pixel of a map, or flat features, get mean 0 and variance 1, and
/// then a weight and a bias each that are learnt.
///
/// Of flat features this is PyTorch's `LayerNorm`, of maps the layer normalisation of ConvNeXt: a `LayerNorm` of as many
/// values as there are channels, on tensors whose channels come last. All values of an image at once are normalised by a
/// [`GroupNorm`] of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// What keeps the divisor from zero: above 0.
    pub epsilon: f32,
    /// Whether there are a weight and a bias.
    pub affine: bool,
}

impl LayerNorm {
    /// PyTorch's defaults: an epsilon of 1e-5, a weight and a bias.
    pub fn new() -> Self {
        LayerNorm { epsilon: EPSILON, affine: true }
    }
}

impl Default for LayerNorm {
    fn default() -> Self {
        LayerNorm::new()
    }
}

fn read_options(keys: &mut Keys) -> Result<(f32, bool)> {
    let epsilon = keys.optional("eps", Keys::number)?.unwrap_or(EPSILON);
    Ok((epsilon, keys.optional("affine", Keys::boolean)?.unwrap_or(true)))
}

fn options(epsilon: f32, affine: bool) -> impl Iterator<Item = (&'static str, Value)> {
    let epsilon = (epsilon != EPSILON).then(|| ("eps", number(epsilon)));
    epsilon.into_iter().chain((!affine).then(|| ("affine", false.into())))
}

/// The parameters of both, and the checks of what they share.
fn infer(name: &str, features: Features, epsilon: f32, affine: bool) -> Result<Inferred> {
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(Error::invalid(name, "a finite eps above 0", epsilon));
    }
    let variable = |name: &str, value: f32| Variable {
        name: name.into(),
        shape: Shape::new([features.channels()]),
        initialiser: Initialiser::Constant(value),
        fan_in: 1,
        fan_out: 1,
        layout: Layout::of_channels(features),
        kind: Kind::Trained(Group::Norm),
    };
    let variables = [variable(WEIGHT, 1.0), variable(BIAS, 0.0)];
    Ok(Inferred { output: features, variables: variables.into_iter().filter(|_| affine).collect() })
}

fn arithmetic(variables: &[Variable]) -> Option<String> {
    variables.first().map(|weight| format!("2*{}", weight.shape.elements()))
}

fn forward(site: &mut Site<'_>, size: GroupSize, epsilon: f32, affine: bool) -> BufferId {
    let shape = site.shape(site.input());
    let [mean, variance] = [MEAN, VARIANCE].map(|word| site.save(word, [size.samples, size.groups].into()));
    site.push(GroupNormStatistics { size }, &[site.input(), mean, variance]);
    let output = site.output(shape);
    let mut operands = vec![site.input(), mean, variance, output];
    operands.extend([WEIGHT, BIAS].iter().filter_map(|name| site.find_variable(name)));
    site.push(GroupNormForward { size, epsilon, affine }, &operands);
    output
}

fn backward(
    site: &mut Site<'_>,
    grad_output: BufferId,
    size: GroupSize,
    epsilon: f32,
    affine: bool,
) -> Vec<Option<BufferId>> {
    let (rows, channels) = input_rows_and_channels(site);
    let given = [site.input(), site.saved(MEAN), site.saved(VARIANCE), grad_output];
    if let Some(grad_weight) = site.grad_variable(WEIGHT) {
        site.push(GroupNormGradWeight { size, epsilon }, &[&given[..], &[grad_weight]].concat());
    }
    if let Some(grad_bias) = site.grad_variable(BIAS) {
        site.push(BiasGrad::new(rows, channels), &[grad_output, grad_bias]);
    }
    let grad_input = site.grad_input(0);
    if let Some(grad_input) = grad_input {
        let sums =
            ["grad_sum", "grad_product"].map(|word| site.save(word, [size.samples, size.groups].into()));
        let weight = site.find_variable(WEIGHT);
        let operands = given.into_iter().chain(sums);
        let of_sums: Vec<BufferId> = operands.clone().chain(weight).collect();
        site.push(GroupNormGradSums { size, epsilon, affine }, &of_sums);
        let of_input: Vec<BufferId> = operands.chain([grad_input]).chain(weight).collect();
        site.push(GroupNormGradInput { size, epsilon, affine }, &of_input);
    }
    vec![grad_input]
}

impl GroupNorm {
    fn size(&self, site: &Site<'_>) -> GroupSize {
        let (rows, channels) = input_rows_and_channels(site);
        let samples = site.batch_size();
        GroupSize { samples, rows: rows / samples, channels, groups: self.groups }
    }
}

impl LayerType for GroupNorm {
    fn type_name(&self) -> &'static str {
        GROUP_NORM
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let groups = ("groups", Value::from(self.groups as i64));
        [groups].into_iter().chain(options(self.epsilon, self.affine)).collect()
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let channels = inputs[0].channels();
        if let Features::Flat { image: Some(image), .. } = inputs[0] {
            // PyTorch's groups would be others, since it has the features in another order.
            let expected = "an image, or flat features that are no flattened image";
            return Err(Error::invalid(GROUP_NORM, expected, format!("one flattened from {image}")));
        }
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let expected = format!("groups that divide {channels} channels");
            return Err(Error::invalid(GROUP_NORM, expected, self.groups));
        }
        infer(GROUP_NORM, inputs[0], self.epsilon, self.affine)
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        arithmetic(variables)
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let norm = Call::new("nn.GroupNorm").with(self.groups).with(site.features().channels());
        let norm = norm.option("eps", pytorch::number(self.epsilon), pytorch::number(EPSILON));
        Ok(site.module(norm.flag("affine", self.affine, true)))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let size = self.size(site);
        Ok(forward(site, size, self.epsilon, self.affine))
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let size = self.size(site);
        Ok(backward(site, grad_output, size, self.epsilon, self.affine))
    }
}

impl LayerNorm {
    fn size(site: &Site<'_>) -> GroupSize {
        let (samples, channels) = input_rows_and_channels(site);
        GroupSize { samples, rows: 1, channels, groups: 1 }
    }
}

impl LayerType for LayerNorm {
    fn type_name(&self) -> &'static str {
        LAYER_NORM
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        options(self.epsilon, self.affine).collect()
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        infer(LAYER_NORM, inputs[0], self.epsilon, self.affine)
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        arithmetic(variables)
    }

    /// Of maps, with their channels last while they are normalised.
    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let norm = Call::new("nn.LayerNorm").with(site.features().channels());
        let norm = norm.option("eps", pytorch::number(self.epsilon), pytorch::number(EPSILON)).flag(
            "elementwise_affine",
            self.affine,
            true,
        );
        let Features::Image(_) = site.features() else { return Ok(site.module(norm)) };
        let Pytorch { module, output } =
            site.module_of(norm, format!("{}.permute(0, 2, 3, 1)", site.input()));
        Ok(Pytorch { module, output: format!("{output}.permute(0, 3, 1, 2)") })
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let size = LayerNorm::size(site);
        Ok(forward(site, size, self.epsilon, self.affine))
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let size = LayerNorm::size(site);
        Ok(backward(site, grad_output, size, self.epsilon, self.affine))
    }
}

impl NetworkBuilder {
    /// Adds a group normalisation with PyTorch's defaults; others are a [`GroupNorm`] for
    /// [`layer`](NetworkBuilder::layer).
    pub fn group_norm(self, groups: usize) -> Self {
        self.layer(GroupNorm::new(groups))
    }

    /// Adds a layer normalisation of the channels with PyTorch's defaults; others are a [`LayerNorm`] for
    /// [`layer`](NetworkBuilder::layer).
    pub fn layer_norm(self) -> Self {
        self.layer(LayerNorm::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkFile};
    use crate::tensor::ImageShape;

    const IMAGE: ImageShape = ImageShape { height: 2, width: 3, channels: 6 };

    fn parsed(layers: &str) -> Result<Network> {
        NetworkFile::parse(&format!("name = \"test\"\n{layers}"))?.build(Some(IMAGE))
    }

    #[test]
    fn a_model_file_says_the_same_as_rust_and_back() {
        let plain = GroupNorm { affine: false, epsilon: 1e-3, ..GroupNorm::new(2) };
        let builder = || Network::builder("test", IMAGE);
        for (keys, built, parameters) in [
            ("type = \"group_norm\"\ngroups = 3", builder().group_norm(3), 12),
            ("type = \"group_norm\"\ngroups = 2\neps = 1e-3\naffine = false", builder().layer(plain), 0),
            ("type = \"layer_norm\"", builder().layer_norm(), 12),
            (
                "type = \"layer_norm\"\neps = 0.5",
                builder().layer(LayerNorm { epsilon: 0.5, ..LayerNorm::new() }),
                12,
            ),
        ] {
            let built = built.build().unwrap();
            assert_eq!(parsed(&format!("[[layers]]\n{keys}")).unwrap(), built);
            assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
            assert_eq!(built.parameter_count(), parameters);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_line() {
        let norm = |keys: &str| format!("[[layers]]\ntype = \"group_norm\"\nname = \"norm\"\n{keys}");
        for (layers, expected) in [
            (norm(""), "layer 1 (group_norm): expected key `groups`, found none"),
            (norm("groups = 4"), "layer norm (group_norm): expected groups that divide 6 channels, found 4"),
            (norm("groups = 1\neps = 0"), "layer norm (group_norm): expected a finite eps above 0, found 0"),
            (
                format!("[[layers]]\ntype = \"flatten\"\n{}", norm("groups = 2")),
                "layer norm (group_norm): expected an image, or flat features that are no flattened image, \
                 found one flattened from 2x3x6",
            ),
        ] {
            assert_eq!(parsed(&layers).unwrap_err().to_string(), expected);
        }
    }
}
