//! What convolutions and dense layers share: a weight that multiplies, and a bias that is added to each channel of the
//! output.

use crate::network::{Initialiser, Kind, Layout, Variable};
use crate::ops::Op;
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::optimizer::Group;
use crate::plan::{BufferId, Site};
use crate::tensor::Shape;

/// Name of the weight.
pub(super) const WEIGHT: &str = "weight";

/// What an explaining plan calls the sums of products without the bias.
const SUMS: &str = "sums";

/// Name of the bias.
pub(super) const BIAS: &str = "bias";

/// A weight and, if `has_bias`, its bias: as many values as the weight has outputs, initially zero.
pub(super) fn with_bias(weight: Variable, has_bias: bool) -> Vec<Variable> {
    let bias = has_bias.then(|| Variable {
        name: BIAS.into(),
        shape: Shape::new([weight.shape.size(0)]),
        initialiser: Initialiser::Zeros,
        layout: Layout::Plain,
        kind: Kind::Trained(Group::Bias),
        ..weight
    });
    std::iter::once(weight).chain(bias).collect()
}

/// The sizes of a weight and its bias as a formula; the outputs, the weight's first axis, are written last.
pub(super) fn arithmetic(variables: &[Variable]) -> Option<String> {
    let factors = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("*");
    let (weight, others) = variables.split_first()?;
    let weight = weight.shape.sizes();
    let product = factors(&[&weight[1..], &weight[..1]].concat());
    Some(if others.is_empty() { product } else { format!("{product} + {}", weight[0]) })
}

/// Adds the steps of the output: `product` computes it from the input and the weight, and the bias is added in place if
/// there is one.
pub(super) fn forward(site: &mut Site<'_>, shape: Shape, product: impl Op + 'static) -> BufferId {
    let output = site.output(shape);
    site.push(product, &[site.input(), site.variable(WEIGHT), output]);
    if let Some(bias) = site.find_variable(BIAS) {
        site.show(SUMS, output);
        let (rows, channels) = rows_and_channels(site, output);
        site.push(BiasForward { rows, channels }, &[bias, output]);
    }
    output
}

/// Adds the steps of the gradients that are needed: `of_weight` computes that of the weight from the input and
/// `grad_output`, `of_input` that of the input from the weight and `grad_output`.
pub(super) fn backward(
    site: &mut Site<'_>,
    grad_output: BufferId,
    of_weight: impl Op + 'static,
    of_input: impl Op + 'static,
) -> Vec<Option<BufferId>> {
    if let Some(grad_weight) = site.grad_variable(WEIGHT) {
        site.push(of_weight, &[site.input(), grad_output, grad_weight]);
    }
    if let Some(grad_bias) = site.grad_variable(BIAS) {
        let (rows, channels) = rows_and_channels(site, grad_output);
        site.push(BiasGrad::new(rows, channels), &[grad_output, grad_bias]);
    }
    let grad_input = site.grad_input(0);
    if let Some(grad_input) = grad_input {
        site.push(of_input, &[site.variable(WEIGHT), grad_output, grad_input]);
    }
    vec![grad_input]
}

/// Rows of the layer's input, and the channels of each: a row is a pixel of a map, or a sample of flat features.
pub(super) fn input_rows_and_channels(site: &Site<'_>) -> (usize, usize) {
    // Not from the buffer's shape: flattened features still lie in the buffer of their map.
    let channels = site.input_features(0).channels();
    (site.shape(site.input()).elements() / channels, channels)
}

/// Rows of an output, all axes but the last, and its channels.
pub(super) fn rows_and_channels(site: &Site<'_>, output: BufferId) -> (usize, usize) {
    let shape = site.shape(output);
    let channels = *shape.sizes().last().expect("an output has axes");
    (shape.elements() / channels, channels)
}
