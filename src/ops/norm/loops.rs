//! The loops of a batch normalisation on the CPU.

use pulp::Simd;

use super::repeated::{Loop, Strips, put_strip, strip};

/// Sums of each channel over some rows, in several places.
pub struct Sums<'a> {
    pub input: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Loop for Sums<'_> {
    #[inline(always)]
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let mut sums = strip::<S, K>(self.sums, strips.place);
        for start in strips.starts() {
            let input = strip::<S, K>(self.input, start);
            for k in 0..K {
                sums[k] = simd.add_f32s(sums[k], input[k]);
            }
        }
        put_strip::<S, K>(self.sums, strips.place, sums);
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
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let rough = strip::<S, K>(self.rough, strips.place);
        let mut sums = strip::<S, K>(self.sums, strips.place);
        let mut squares = strip::<S, K>(self.squares, strips.place);
        for start in strips.starts() {
            let input = strip::<S, K>(self.input, start);
            for k in 0..K {
                let difference = simd.sub_f32s(input[k], rough[k]);
                sums[k] = simd.add_f32s(sums[k], difference);
                squares[k] = simd.mul_add_e_f32s(difference, difference, squares[k]);
            }
        }
        put_strip::<S, K>(self.sums, strips.place, sums);
        put_strip::<S, K>(self.squares, strips.place, squares);
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
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let [mean, factor, shift] = self.factors.of_strip::<S, K>(strips.place);
        for start in strips.starts() {
            let mut values = strip::<S, K>(self.input, start);
            for k in 0..K {
                let difference = simd.sub_f32s(values[k], mean[k]);
                values[k] = simd.mul_add_e_f32s(difference, factor[k], shift[k]);
            }
            if let Some(summand) = self.summand {
                let summand = strip::<S, K>(summand, start);
                for k in 0..K {
                    values[k] = simd.add_f32s(values[k], summand[k]);
                }
            }
            if RELU {
                for value in &mut values {
                    *value = through_relu(simd, *value, *value);
                }
            }
            put_strip::<S, K>(self.output, start, values);
        }
    }
}

impl Factors<'_> {
    #[inline(always)]
    fn of_strip<S: Simd, const K: usize>(&self, place: usize) -> [[S::f32s; K]; 3] {
        let Factors { mean, factor, shift } = self;
        [strip::<S, K>(mean, place), strip::<S, K>(factor, place), strip::<S, K>(shift, place)]
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
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let [mean, factor, shift] = self.factors.of_strip::<S, K>(strips.place);
        let mut of_products = strip::<S, K>(self.of_products, strips.place);
        let mut of_gradients = strip::<S, K>(self.of_gradients, strips.place);
        for start in strips.starts() {
            let (input, mut grad) = (strip::<S, K>(self.input, start), strip::<S, K>(self.grad, start));
            for k in 0..K {
                let difference = simd.sub_f32s(input[k], mean[k]);
                if RELU {
                    let value = simd.mul_add_e_f32s(difference, factor[k], shift[k]);
                    grad[k] = through_relu(simd, value, grad[k]);
                }
                of_products[k] = simd.mul_add_e_f32s(grad[k], difference, of_products[k]);
                of_gradients[k] = simd.add_f32s(of_gradients[k], grad[k]);
            }
        }
        put_strip::<S, K>(self.of_products, strips.place, of_products);
        put_strip::<S, K>(self.of_gradients, strips.place, of_gradients);
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
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let [mean, factor, shift] = self.factors.of_strip::<S, K>(strips.place);
        let share = strip::<S, K>(self.share, strips.place);
        let slope = strip::<S, K>(self.slope, strips.place);
        for start in strips.starts() {
            let input = strip::<S, K>(self.input, start);
            let mut grad = strip::<S, K>(self.grad.unwrap_or(self.grad_input), start);
            for k in 0..K {
                let difference = simd.sub_f32s(input[k], mean[k]);
                if RELU {
                    let value = simd.mul_add_e_f32s(difference, factor[k], shift[k]);
                    grad[k] = through_relu(simd, value, grad[k]);
                }
                let through_statistics = simd.mul_add_e_f32s(difference, slope[k], share[k]);
                grad[k] = simd.mul_f32s(factor[k], simd.sub_f32s(grad[k], through_statistics));
            }
            put_strip::<S, K>(self.grad_input, start, grad);
        }
    }
}
