//! The tensors that belong to layers, and their PyTorch layouts.

use super::{Features, Initialiser};
use crate::ops::optimizer::Group;
use crate::tensor::{ImageShape, Shape, Tensor};
use crate::{Error, Result};

/// A tensor that belongs to a layer and outlives a step: a weight, a bias, a running mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// PyTorch's name: `conv1.weight`, `conv1.bias`.
    pub name: String,
    /// Sizes in the internal layout: filters `[K,R,S,C/groups]`, a dense weight `[O,I]`, a bias `[K]`.
    pub shape: Shape,
    /// How it is initialised.
    pub initialiser: Initialiser,
    /// Number of inputs of one output value: R*S*C/groups, or I.
    pub fan_in: usize,
    /// Number of outputs that one input value would reach without groups: R*S*K, or O.
    ///
    /// Keras (`compute_fans`) and PyTorch (`_calculate_fan_in_and_fan_out`) both derive the fans from the weight's
    /// own shape: groups divide `fan_in` and do not affect `fan_out`.
    pub fan_out: usize,
    /// How the internal layout maps to PyTorch's.
    pub layout: Layout,
    /// What changes it.
    pub kind: Kind,
}

/// What changes a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The optimizer, with the options of a group of parameters.
    Trained(Group),
    /// The same, in the first epochs of a training alone.
    TrainedAtFirst(Group),
    /// Nothing: it keeps its initial value, or the value loaded from a file.
    Frozen,
    /// The layer itself, during training: a running mean.
    Statistic,
}

/// How a variable's internal layout maps to PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[K,R,S,C/groups]` internally, `[K,C/groups,R,S]` in PyTorch.
    Filters,
    /// `[O,I]` in both. If the layer reads a flattened map, the columns run over (h, w, c) internally and over (c, h,
    /// w) in PyTorch.
    Dense {
        /// That map.
        image: Option<ImageShape>,
    },
    /// `[I]` in both, a value for each feature of a flattened map, in the order (h, w, c) internally and (c, h, w) in
    /// PyTorch.
    Flattened {
        /// That map.
        image: ImageShape,
    },
    /// The same in both: a bias `[K]`.
    Plain,
}

impl Layout {
    /// The layout of a variable with a value for each channel of these features.
    pub fn of_channels(features: Features) -> Self {
        match features {
            Features::Flat { image: Some(image), .. } => Layout::Flattened { image },
            Features::Image(_) | Features::Flat { image: None, .. } => Layout::Plain,
        }
    }
}

impl Variable {
    /// The initial values, in the internal layout; `stream` is the variable's index in the network.
    pub fn initial_values(&self, seed: u64, stream: u64) -> Vec<f32> {
        self.initialiser.fill(&self.shape, [self.fan_in, self.fan_out], seed, stream)
    }

    /// Whether the optimizer changes it, at any time.
    pub fn is_trained(&self) -> bool {
        matches!(self.kind, Kind::Trained(_) | Kind::TrainedAtFirst(_))
    }

    /// Sizes in PyTorch's layout.
    pub fn pytorch_shape(&self) -> Shape {
        match self.layout {
            Layout::Filters => Shape::new(CHANNELS_FIRST.map(|axis| self.shape.size(axis))),
            Layout::Dense { .. } | Layout::Flattened { .. } | Layout::Plain => self.shape.clone(),
        }
    }

    /// Converts values in the internal layout to the tensor that PyTorch and safetensors hold.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `data` does not hold one value per element; [`Error::Memory`] when there is too little
    /// memory.
    pub fn to_pytorch(&self, data: &[f32]) -> Result<Tensor> {
        let sizes = self.channels_last_sizes();
        let tensor = Tensor::new(Shape::new(sizes.clone()), data.to_vec())?;
        let tensor = if sizes.len() == 4 { tensor.permuted(&CHANNELS_FIRST)? } else { tensor };
        tensor.reshaped(self.pytorch_shape())
    }

    /// Converts the tensor that PyTorch and safetensors hold to values in the internal layout.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the tensor's shape is not [`Variable::pytorch_shape`]; [`Error::Memory`] when there
    /// is too little memory.
    pub fn from_pytorch(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let expected = self.pytorch_shape();
        if *tensor.shape() != expected {
            return Err(Error::invalid(&self.name, format!("shape {expected}"), tensor.shape()));
        }
        let sizes = self.channels_last_sizes();
        if sizes.len() != 4 {
            return Ok(tensor.data().to_vec());
        }
        let channels_first = Shape::new(CHANNELS_FIRST.map(|axis| sizes[axis]));
        let tensor = tensor.try_clone()?.reshaped(channels_first)?;
        Ok(tensor.permuted(&CHANNELS_LAST)?.into_data())
    }

    /// Sizes with the channels as the last of four axes; the sizes of other variables are unchanged.
    fn channels_last_sizes(&self) -> Vec<usize> {
        match self.layout {
            Layout::Dense { image: Some(ImageShape { height, width, channels }) } => {
                vec![self.shape.size(0), height, width, channels]
            }
            Layout::Flattened { image: ImageShape { height, width, channels } } => {
                vec![1, height, width, channels]
            }
            _ => self.shape.sizes().to_vec(),
        }
    }
}

const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(shape: impl Into<Shape>, layout: Layout) -> Variable {
        let (name, initialiser, kind) = ("layer.weight".into(), Initialiser::Zeros, Kind::Frozen);
        Variable { name, shape: shape.into(), initialiser, fan_in: 1, fan_out: 1, layout, kind }
    }

    fn counting(parameter: &Variable) -> Vec<f32> {
        (0..parameter.shape.elements()).map(|value| value as f32).collect()
    }

    #[test]
    fn filters_put_channels_before_taps() {
        let filters = parameter([1, 1, 2, 3], Layout::Filters);
        let tensor = filters.to_pytorch(&counting(&filters)).unwrap();
        assert_eq!(tensor.shape(), &Shape::from([1, 3, 1, 2]));
        assert_eq!(tensor.data(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn a_dense_layer_after_a_flatten_permutes_its_columns() {
        let image = ImageShape { height: 1, width: 2, channels: 3 };
        let dense = parameter([2, 6], Layout::Dense { image: Some(image) });
        let tensor = dense.to_pytorch(&counting(&dense)).unwrap();
        assert_eq!(tensor.shape(), &Shape::from([2, 6]));
        assert_eq!(tensor.data(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
    }

    #[test]
    fn values_survive_the_way_to_pytorch_and_back() {
        let image = ImageShape { height: 3, width: 5, channels: 2 };
        for parameter in [
            parameter([4, 3, 5, 2], Layout::Filters),
            parameter([4, 30], Layout::Dense { image: Some(image) }),
            parameter([4, 30], Layout::Dense { image: None }),
            parameter([30], Layout::Flattened { image }),
            parameter([7], Layout::Plain),
        ] {
            let data = counting(&parameter);
            let tensor = parameter.to_pytorch(&data).unwrap();
            assert_eq!(parameter.from_pytorch(&tensor).unwrap(), data, "{parameter:?}");
        }
    }

    #[test]
    fn a_tensor_of_another_shape_is_refused() {
        let filters = parameter([4, 3, 5, 2], Layout::Filters);
        let error = filters.from_pytorch(&Tensor::zeros([4, 3, 5, 2])).unwrap_err();
        assert_eq!(error.to_string(), "layer.weight: expected shape [4, 2, 3, 5], found [4, 3, 5, 2]");
    }
}
