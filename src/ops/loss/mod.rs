//! Losses, which training minimises.

mod scale;
mod softmax_cross_entropy;

pub use scale::{
    FIRST_LOSS_SCALE, GROWTH_STEPS, LARGEST_SCALE, LOSS_SCALE, LOSS_SCALE_SIZE, RestoreLoss, ScaleGradient,
};
pub use softmax_cross_entropy::{NO_LABEL, SoftmaxCrossEntropy};
