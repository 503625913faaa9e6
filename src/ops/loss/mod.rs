//! Losses, which training minimises.

mod softmax_cross_entropy;

pub use softmax_cross_entropy::{NO_LABEL, SoftmaxCrossEntropy};
