//! The loops of a batch normalisation on the CPU.

use std::ops::Range;

use pulp::Simd;

use super::repeated::{Loop, of_channels, of_channels_mut, side_by_side, side_by_side_mut};

/// Sums of each channel over some rows, in several places.
pub struct Sums<'a> {
    pub input: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Loop for Sums<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>) {
        let input = side_by_side::<S, N>(&self.input[elements]);
        for (j, sum) in of_channels_mut::<S>(self.sums, input[0].len()).iter_mut().enumerate() {
            *sum = input.iter().fold(*sum, |sum, input| simd.add_f32s(sum, input[j]));
        }
    }
}

/// Sums of differences from rough means, and of their squares, in several places.
pub struct Differences<'a> {
    pub input: &'a [f32],
    pub rough: &'a [f32],
    pub sums: &'a mut [f32],
    pub squares: &'a mut [f32],
}

impl Loop for Differences<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>) {
        let input = side_by_side::<S, N>(&self.input[elements]);
        let length = input[0].len();
        let rough = of_channels::<S>(self.rough, length);
        let sums = of_channels_mut::<S>(self.sums, length);
        let squares = of_channels_mut::<S>(self.squares, length);
        for j in 0..length {
            let (mut sum, mut square) = (sums[j], squares[j]);
            for input in input {
                let difference = simd.sub_f32s(input[j], rough[j]);
                sum = simd.add_f32s(sum, difference);
                square = simd.mul_add_e_f32s(difference, difference, square);
            }
            (sums[j], squares[j]) = (sum, square);
        }
    }
}

/// What a value of each channel is normalised with: `(value - mean) * factor + shift`. Repeated for a block of rows.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    pub mean: &'a [f32],
    pub factor: &'a [f32],
    pub shift: &'a [f32],
}

/// `kept`, which is the value or its gradient, or zero where the value is not positive.
#[inline(always)]
fn through_relu<S: Simd>(simd: S, value: S::f32s, kept: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(value, zero), zero, kept)
}

/// Normalises rows, adds a summand to them, and applies a ReLU with `RELU`.
pub struct Normalising<'a, const RELU: bool> {
    pub input: &'a [f32],
    pub summand: Option<&'a [f32]>,
    pub output: &'a mut [f32],
    pub factors: Factors<'a>,
}

impl<const RELU: bool> Loop for Normalising<'_, RELU> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>) {
        let input = side_by_side::<S, N>(&self.input[elements.clone()]);
        let summand = self.summand.map(|summand| side_by_side::<S, N>(&summand[elements.clone()]));
        let output = side_by_side_mut::<S, N>(&mut self.output[elements]);
        let length = input[0].len();
        let [mean, factor, shift] = self.factors.of_channels::<S>(length);
        for j in 0..length {
            for block in 0..N {
                let difference = simd.sub_f32s(input[block][j], mean[j]);
                let mut value = simd.mul_add_e_f32s(difference, factor[j], shift[j]);
                if let Some(summand) = summand {
                    value = simd.add_f32s(value, summand[block][j]);
                }
                output[block][j] = if RELU { through_relu(simd, value, value) } else { value };
            }
        }
    }
}

impl Factors<'_> {
    #[inline(always)]
    fn of_channels<S: Simd>(&self, length: usize) -> [&[S::f32s]; 3] {
        [self.mean, self.factor, self.shift].map(|values| of_channels::<S>(values, length))
    }
}

/// Sums of the gradient times the input's difference from the mean, and of the gradient, in several places; with `RELU`, the
/// gradient is that behind a ReLU of normalised values.
pub struct GradientSums<'a, const RELU: bool> {
    pub input: &'a [f32],
    pub grad: &'a [f32],
    pub factors: Factors<'a>,
    pub of_products: &'a mut [f32],
    pub of_gradients: &'a mut [f32],
}

impl<const RELU: bool> Loop for GradientSums<'_, RELU> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>) {
        let input = side_by_side::<S, N>(&self.input[elements.clone()]);
        let grad = side_by_side::<S, N>(&self.grad[elements]);
        let length = input[0].len();
        let [mean, factor, shift] = self.factors.of_channels::<S>(length);
        let of_products = of_channels_mut::<S>(self.of_products, length);
        let of_gradients = of_channels_mut::<S>(self.of_gradients, length);
        for j in 0..length {
            let (mut product_sum, mut gradient_sum) = (of_products[j], of_gradients[j]);
            for block in 0..N {
                let difference = simd.sub_f32s(input[block][j], mean[j]);
                let mut grad = grad[block][j];
                if RELU {
                    grad = through_relu(simd, simd.mul_add_e_f32s(difference, factor[j], shift[j]), grad);
                }
                product_sum = simd.mul_add_e_f32s(grad, difference, product_sum);
                gradient_sum = simd.add_f32s(gradient_sum, grad);
            }
            (of_products[j], of_gradients[j]) = (product_sum, gradient_sum);
        }
    }
}

/// Gradients of the input, from those of normalised values; with `RELU`, from those behind a ReLU of them.
pub struct InputGradients<'a, const RELU: bool> {
    pub input: &'a [f32],
    /// `None` if they are where the results will be.
    pub grad: Option<&'a [f32]>,
    pub grad_input: &'a mut [f32],
    pub factors: Factors<'a>,
    /// The gradient of the bias over the number of rows.
    pub share: &'a [f32],
    /// The inverse deviation times the gradient of the weight over the number of rows.
    pub slope: &'a [f32],
}

impl<const RELU: bool> Loop for InputGradients<'_, RELU> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(&mut self, simd: S, elements: Range<usize>) {
        let input = side_by_side::<S, N>(&self.input[elements.clone()]);
        let grad = self.grad.map(|grad| side_by_side::<S, N>(&grad[elements.clone()]));
        let grad_input = side_by_side_mut::<S, N>(&mut self.grad_input[elements]);
        let length = input[0].len();
        let [mean, factor, shift] = self.factors.of_channels::<S>(length);
        let (share, slope) = (of_channels::<S>(self.share, length), of_channels::<S>(self.slope, length));
        for j in 0..length {
            for block in 0..N {
                let difference = simd.sub_f32s(input[block][j], mean[j]);
                let mut grad = grad.map_or(grad_input[block][j], |grad| grad[block][j]);
                if RELU {
                    grad = through_relu(simd, simd.mul_add_e_f32s(difference, factor[j], shift[j]), grad);
                }
                let through_statistics = simd.mul_add_e_f32s(difference, slope[j], share[j]);
                grad_input[block][j] = simd.mul_f32s(factor[j], simd.sub_f32s(grad, through_statistics));
            }
        }
    }
}
