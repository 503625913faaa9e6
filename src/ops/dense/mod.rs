//! Dense (fully connected) layers and their gradients.
//!
//! The bias and its gradient are operations of their own, [`bias`](super::bias).

mod forward;
mod grad_input;
mod grad_weight;

pub use forward::DenseForward;
pub use grad_input::DenseGradInput;
pub use grad_weight::DenseGradWeight;

use super::kernel::Constant;
use crate::tensor::Shape;
use crate::{Error, Result};

/// Number of rows of a result that a core computes at a time: enough that reading the other matrix pays off.
const CHUNK_ROWS: usize = 16;

/// The sizes of a dense layer: checked, and therefore consistent.
///
/// `output[n,o] = sum over i of input[n,i] * weight[o,i]`
///
/// # Shapes
/// input `[N,I]`, weight `[O,I]`, output `[N,O]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DenseSize {
    /// N: number of samples.
    pub batch_size: usize,
    /// I: number of values in a sample.
    pub in_features: usize,
    /// O: number of values in a result.
    pub out_features: usize,
}

impl DenseSize {
    /// Checks the sizes of a dense layer.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size of zero, and for a tensor of 2^31 elements or more.
    pub fn new(batch_size: usize, in_features: usize, out_features: usize) -> Result<Self> {
        const OPERATION: &str = "dense";
        for (what, size) in
            [("batch_size", batch_size), ("in_features", in_features), ("out_features", out_features)]
        {
            if size == 0 {
                return Err(Error::invalid(OPERATION, format!("{what} of at least 1"), size));
            }
        }
        for sizes in [[batch_size, in_features], [out_features, in_features], [batch_size, out_features]] {
            Shape::checked(OPERATION, sizes)?;
        }
        Ok(DenseSize { batch_size, in_features, out_features })
    }

    /// `[N,I]`.
    pub fn input_shape(&self) -> Shape {
        [self.batch_size, self.in_features].into()
    }

    /// `[O,I]`.
    pub fn weight_shape(&self) -> Shape {
        [self.out_features, self.in_features].into()
    }

    /// `[N,O]`.
    pub fn output_shape(&self) -> Shape {
        [self.batch_size, self.out_features].into()
    }

    /// Floating-point operations of each of the three passes, `2*N*I*O`.
    pub fn flops(&self) -> u64 {
        2 * self.weight_shape().elements() as u64 * self.batch_size as u64
    }

    /// The overrides that `shaders/dense/size.wgsl` declares.
    pub fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![
            ("BATCH_SIZE", self.batch_size.into()),
            ("IN_FEATURES", self.in_features.into()),
            ("OUT_FEATURES", self.out_features.into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_of_zero_and_a_tensor_too_large_are_refused() {
        for (batch_size, in_features, out_features, reason) in [
            (0, 1, 1, "batch_size"),
            (1, 0, 1, "in_features"),
            (1, 1, 0, "out_features"),
            (1, 1 << 16, 1 << 15, "2^31"),
        ] {
            let error = DenseSize::new(batch_size, in_features, out_features).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
