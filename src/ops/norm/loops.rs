//! The loops of a batch normalisation on the CPU.

use pulp::Simd;

use super::repeated::{Loop, Strips};

/// Sums of each channel over some rows, in several places.
pub struct Sums<'a> {
    pub input: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Loop for Sums<'_> {
    #[inline(always)]
    fn run<S: Simd, const K: usize>(&mut self, simd: S, strips: Strips) {
        let mut sums = strips.read::<S, K>(simd, self.sums, strips.place);
        for start in strips.starts() {
            let input = strips.read::<S, K>(simd, self.input, start);
            for k in 0..K {
                sums[k] = simd.add_f32s(sums[k], input[k]);
            }
        }
        strips.write::<S, K>(simd, self.sums, strips.place, sums);
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
        let rough = strips.read::<S, K>(simd, self.rough, strips.place);
        let mut sums = strips.read::<S, K>(simd, self.sums, strips.place);
        let mut squares = strips.read::<S, K>(simd, self.squares, strips.place);
        for start in strips.starts() {
            let input = strips.read::<S, K>(simd, self.input, start);
            for k in 0..K {
                let difference = simd.sub_f32s(input[k], rough[k]);
                sums[k] = simd.add_f32s(sums[k], difference);
                squares[k] = simd.mul_add_e_f32s(difference, difference, squares[k]);
            }
        }
        strips.write::<S, K>(simd, self.sums, strips.place, sums);
        strips.write::<S, K>(simd, self.squares, strips.place, squares);
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
        let [mean, factor, shift] = self.factors.of_strips::<S, K>(simd, strips);
        for start in strips.starts() {
            let mut values = strips.read::<S, K>(simd, self.input, start);
            for k in 0..K {
                let difference = simd.sub_f32s(values[k], mean[k]);
                values[k] = simd.mul_add_e_f32s(difference, factor[k], shift[k]);
            }
            if let Some(summand) = self.summand {
                let summand = strips.read::<S, K>(simd, summand, start);
                for k in 0..K {
                    values[k] = simd.add_f32s(values[k], summand[k]);
                }
            }
            if RELU {
                for value in &mut values {
                    *value = through_relu(simd, *value, *value);
                }
            }
            strips.write::<S, K>(simd, self.output, start, values);
        }
    }
}

impl Factors<'_> {
    #[inline(always)]
    fn of_strips<S: Simd, const K: usize>(&self, simd: S, strips: Strips) -> [[S::f32s; K]; 3] {
        let Factors { mean, factor, shift } = self;
        [
            strips.read::<S, K>(simd, mean, strips.place),
            strips.read::<S, K>(simd, factor, strips.place),
            strips.read::<S, K>(simd, shift, strips.place),
        ]
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
        let [mean, factor, shift] = self.factors.of_strips::<S, K>(simd, strips);
        let mut of_products = strips.read::<S, K>(simd, self.of_products, strips.place);
        let mut of_gradients = strips.read::<S, K>(simd, self.of_gradients, strips.place);
        for start in strips.starts() {
            let (input, mut grad) =
                (strips.read::<S, K>(simd, self.input, start), strips.read::<S, K>(simd, self.grad, start));
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
        strips.write::<S, K>(simd, self.of_products, strips.place, of_products);
        strips.write::<S, K>(simd, self.of_gradients, strips.place, of_gradients);
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
        let [mean, factor, shift] = self.factors.of_strips::<S, K>(simd, strips);
        let share = strips.read::<S, K>(simd, self.share, strips.place);
        let slope = strips.read::<S, K>(simd, self.slope, strips.place);
        for start in strips.starts() {
            let input = strips.read::<S, K>(simd, self.input, start);
            let mut grad = strips.read::<S, K>(simd, self.grad.unwrap_or(self.grad_input), start);
            for k in 0..K {
                let difference = simd.sub_f32s(input[k], mean[k]);
                if RELU {
                    let value = simd.mul_add_e_f32s(difference, factor[k], shift[k]);
                    grad[k] = through_relu(simd, value, grad[k]);
                }
                let through_statistics = simd.mul_add_e_f32s(difference, slope[k], share[k]);
                grad[k] = simd.mul_f32s(factor[k], simd.sub_f32s(grad[k], through_statistics));
            }
            strips.write::<S, K>(simd, self.grad_input, start, grad);
        }
    }
}
