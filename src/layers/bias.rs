//! The bias that a convolution or a dense layer adds to each channel of its output.

use crate::network::{Initialiser, Kind, Layout, Variable};
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::optimizer::Group;
use crate::plan::{BufferId, Site};
use crate::tensor::Shape;

const NAME: &str = "bias";

/// A weight and, if `has_bias`, its bias: as many values as the weight has outputs, initially zero.
pub(super) fn with_bias(weight: Variable, has_bias: bool) -> Vec<Variable> {
    let bias = has_bias.then(|| Variable {
        name: NAME.into(),
        shape: Shape::new([weight.shape.size(0)]),
        initialiser: Initialiser::Zeros,
        layout: Layout::Plain,
        kind: Kind::Trained(Group::Bias),
        ..weight
    });
    std::iter::once(weight).chain(bias).collect()
}

/// Adds the bias to `output` in place, if there is one.
pub(super) fn forward(site: &mut Site<'_>, output: BufferId) {
    if let Some(bias) = site.find_variable(NAME) {
        let (rows, channels) = rows_and_channels(site, output);
        site.push(BiasForward { rows, channels }, &[bias, output]);
    }
}

/// Computes the gradient of the bias, if it is needed.
pub(super) fn backward(site: &mut Site<'_>, grad_output: BufferId) {
    if let Some(grad_bias) = site.grad_variable(NAME) {
        let (rows, channels) = rows_and_channels(site, grad_output);
        site.push(BiasGrad::new(rows, channels), &[grad_output, grad_bias]);
    }
}

/// Rows of an output, all axes but the last, and its channels.
pub(super) fn rows_and_channels(site: &Site<'_>, output: BufferId) -> (usize, usize) {
    let shape = site.shape(output);
    let channels = *shape.sizes().last().expect("an output has axes");
    (shape.elements() / channels, channels)
}
