//! Several layers' outputs side by side.

use std::ops::RangeInclusive;

use super::weighted::input_rows_and_channels;
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::network::{Content, Features, NetworkBuilder};
use crate::ops::concatenate::{self, ConcatenateGrad};
use crate::plan::{BufferId, Site};
use crate::tensor::{ImageShape, Shape};
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: NAME, keys: &[], read: |_| Ok(Content::layer(Concatenate)) }];

const NAME: &str = "concatenate";

/// The channels of two or more layers side by side, in the order of the inputs: maps of the same height and width, or flat
/// features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concatenate;

/// The features of two inputs side by side, if that is possible.
fn together(a: Features, b: Features) -> Result<Features> {
    let expected = match (a, b) {
        (Features::Image(a), Features::Image(b)) if (a.height, a.width) == (b.height, b.width) => {
            return Ok(Features::Image(ImageShape { channels: a.channels + b.channels, ..a }));
        }
        (Features::Flat { size: a, image: None }, Features::Flat { size: b, image: None }) => {
            return Ok(Features::Flat { size: a + b, image: None });
        }
        (Features::Image(_), Features::Image(_)) => "images of the same height and width",
        // PyTorch would have their features in another order, of which a later layer's weights could not know.
        (Features::Flat { .. }, Features::Flat { .. }) => {
            "no features flattened from images (concatenate the images, and flatten that)"
        }
        _ => "images alone, or flat features alone",
    };
    Err(Error::invalid(NAME, expected, format!("{a} and {b}")))
}

impl LayerType for Concatenate {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn input_counts(&self) -> RangeInclusive<usize> {
        2..=usize::MAX
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let output = inputs[1..].iter().try_fold(inputs[0], |sum, &input| together(sum, input))?;
        Shape::checked(NAME, output.sizes())?;
        Ok(Inferred::without_variables(output))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let inputs: Vec<&str> = site.inputs.iter().map(|(input, _)| *input).collect();
        Ok(Pytorch::expression(format!("torch.cat([{}], 1)", inputs.join(", "))))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let inputs = site.inputs().to_vec();
        let (rows, channels) = rows_and_channels(site);
        let op = concatenate::Concatenate { rows, channels };
        let mut sizes = site.shape(inputs[0]).sizes().to_vec();
        *sizes.last_mut().expect("a tensor has axes") = op.total();
        let output = site.output(Shape::checked(NAME, sizes)?);
        site.push(op, &[inputs, vec![output]].concat());
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let (rows, channels) = rows_and_channels(site);
        let all = channels.iter().sum();
        let mut first = 0;
        let grads = channels.into_iter().enumerate().map(|(number, channels)| {
            let grad_input = site.grad_input(number);
            if let Some(grad_input) = grad_input {
                site.push(ConcatenateGrad { rows, all, first, channels }, &[grad_output, grad_input]);
            }
            first += channels;
            grad_input
        });
        Ok(grads.collect())
    }
}

/// Rows of every input, and the channels of each.
fn rows_and_channels(site: &Site<'_>) -> (usize, Vec<usize>) {
    let channels = (0..site.inputs().len()).map(|input| site.input_features(input).channels());
    (input_rows_and_channels(site).0, channels.collect())
}

impl NetworkBuilder {
    /// Adds a layer that puts the channels of the previous layer and of these others side by side.
    pub fn concatenate(self, others: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let others = others.into_iter().map(|other| Some(other.into()));
        self.layer_of(Concatenate, [None].into_iter().chain(others))
    }
}
