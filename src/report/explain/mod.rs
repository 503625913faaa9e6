//! One value of a network explained: from the patch of the image to the sum, through activation and pool; and back from the
//! loss to the gradient of one weight, and to its next value.

mod board;
mod chain;
pub mod lesson;

pub use board::{backwards, board, forwards};
pub use chain::{Asked, Explainer};

use serde::Serialize;

/// The story of one value of a convolution for one image, every number as the plan computed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What the image is called.
    pub image: String,
    /// The most probable classes and their probabilities.
    pub answer: Vec<(String, f64)>,
    /// The class that the loss asks for.
    pub class: String,
    /// Whether that is the image's class; if it is not known, the most probable one stands in for it.
    pub class_is_known: bool,
    /// The cross-entropy: minus the logarithm of the class's probability.
    pub loss: f32,
    /// The layer's name.
    pub layer: String,
    /// The number of its filters.
    pub filters: usize,
    /// Height, width and channels of a filter.
    pub size: [usize; 3],
    /// Height and width of its maps.
    pub map: [usize; 2],
    /// The filter, from 0.
    pub filter: usize,
    /// The row and the column of its map, from 0.
    pub at: [usize; 2],
    /// What is multiplied, and by what: row by row, then column by column, then channel by channel.
    pub taps: Vec<Tap>,
    /// The sum of the products.
    pub sum: f32,
    /// The filter's bias, if it has one.
    pub bias: Option<f32>,
    /// The sum with the bias.
    pub total: f32,
    /// What the layers behind make of it, one by one.
    pub passes: Vec<Pass>,
    /// The pool behind them, if there is one.
    pub pool: Option<Pool>,
    /// The gradient of the loss with respect to the total.
    pub gradient: f32,
    /// The gradient of one weight of the filter, if it is trained.
    pub weight: Option<Weight>,
}

/// A product of the sum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tap {
    /// Row, column and channel of the value in what the layer reads; rows and columns outside of it are padding.
    pub at: [isize; 3],
    /// The value, as the layer reads it: 0 in the padding.
    pub input: f32,
    /// The filter's weight.
    pub weight: f32,
    /// Their product.
    pub product: f32,
}

/// A layer that makes one value of one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pass {
    /// Its name.
    pub layer: String,
    /// Its type.
    pub kind: String,
    /// The value that comes out.
    pub value: f32,
    /// The gradient of the loss with respect to that value.
    pub gradient: f32,
}

/// A window of a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    /// Its name.
    pub layer: String,
    /// Its type: `max_pool` or an average pool.
    pub kind: String,
    /// Row, column and value of each member.
    pub window: Vec<(usize, usize, f32)>,
    /// The number of the first largest member.
    pub winner: usize,
    /// The row and the column in the output.
    pub at: [usize; 2],
    /// The value that comes out.
    pub value: f32,
    /// The gradient of the loss with respect to that value.
    pub gradient: f32,
}

/// The gradient of a weight: the sum over all places of the map of the gradient there, times what the weight was multiplied
/// by there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weight {
    /// Row, column and channel of the weight in its filter.
    pub tap: [usize; 3],
    /// The largest terms.
    pub terms: Vec<Term>,
    /// The number of terms that are not zero, and of all.
    pub nonzero: usize,
    /// The number of all terms.
    pub all: usize,
    /// The sum of all terms.
    pub gradient: f32,
    /// How the weight was drawn at the start, if from a uniform distribution: the initialiser's name, numbers of inputs and
    /// outputs, and the bound on either side.
    pub drawn: Option<(String, [usize; 2], f64)>,
    /// The weight's value.
    pub before: f32,
    /// The learning rate.
    pub rate: f32,
    /// The value after a step of plain gradient descent: `before - rate * gradient`.
    pub after: f32,
}

/// A term of a weight's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Term {
    /// The place in the map.
    pub at: [usize; 2],
    /// The gradient of the loss with respect to the sum there.
    pub gradient: f32,
    /// What the weight was multiplied by there.
    pub input: f32,
    /// Their product.
    pub product: f32,
}
