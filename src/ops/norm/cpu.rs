//! Batch normalisation on the CPU: a chunk of rows at a time on each core.

use std::ops::Range;

use rayon::prelude::*;

use super::repeated::{add_up, loop_elements, repeat};
use super::{BatchNormSize, fast_inverse_deviation};
use crate::cpu::{vectorized, with_scratch};
use crate::ops::activation::{Activation, Saved};
use crate::ops::epilogue::Epilogue;
use crate::ops::rows::chunk_rows;

/// Number of channels whose moments a core combines at a time.
const CHUNK_CHANNELS: usize = 256;

/// The mean of each channel over all rows, and the sum of squared differences from it. Each chunk of rows has moments of
/// its own; they are combined in order.
pub fn moments(input: &[f32], size: &BatchNormSize, mean: &mut [f32], squares: &mut [f32]) {
    let (channels, rows) = (size.channels, chunk_rows(size.channels));
    let elements = size.rows.div_ceil(rows) * channels;
    with_scratch(2 * elements, |scratch| {
        let (means_of_chunks, squares_of_chunks) = scratch.split_at_mut(elements);
        let chunks = means_of_chunks.par_chunks_mut(channels).zip(squares_of_chunks.par_chunks_mut(channels));
        let chunks = chunks.zip(input.par_chunks(rows * channels));
        chunks.for_each(|((means, squares), input)| moments_of_chunk(input, means, squares));
        let (means_of_chunks, squares_of_chunks) = (&*means_of_chunks, &*squares_of_chunks);
        let results = mean.par_chunks_mut(CHUNK_CHANNELS).zip(squares.par_chunks_mut(CHUNK_CHANNELS));
        results.enumerate().for_each(|(part, (mean, squares))| {
            let first = part * CHUNK_CHANNELS;
            mean.fill(0.0);
            squares.fill(0.0);
            // Relative to one of them, means are close to zero.
            let origins = &means_of_chunks[first..];
            let chunks = means_of_chunks.chunks_exact(channels).zip(squares_of_chunks.chunks_exact(channels));
            for (number, (added_means, added_squares)) in chunks.enumerate() {
                let before = number * rows;
                let count = rows.min(size.rows - before) as f32;
                let (before, together) = (before as f32, before as f32 + count);
                let share = count / together;
                let moments = mean.iter_mut().zip(squares.iter_mut()).zip(origins);
                let added = added_means[first..].iter().zip(&added_squares[first..]);
                for (((mean, square), origin), (added_mean, added_square)) in moments.zip(added) {
                    let difference = added_mean - origin - *mean;
                    *mean += difference * share;
                    *square += added_square + difference * difference * before * share;
                }
            }
            for (mean, origin) in mean.iter_mut().zip(origins) {
                *mean += origin;
            }
            squares.iter_mut().for_each(|square| *square = square.clamp(0.0, f32::INFINITY));
        });
    });
}

/// Means of a chunk of rows, and sums of squared differences from them. The means are computed roughly at first, and
/// corrected once the differences from them have been summed.
fn moments_of_chunk(input: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let channels = means.len();
    let elements = loop_elements(channels);
    let rows = (input.len() / channels) as f32;
    with_scratch(3 * elements + channels, |scratch| {
        let (rough, scratch) = scratch.split_at_mut(elements);
        let (sums, scratch) = scratch.split_at_mut(elements);
        let (sums_of_squares, corrections) = scratch.split_at_mut(elements);
        sums.fill(0.0);
        vectorized(|| {
            for input in input.chunks(elements) {
                for (sum, input) in sums.iter_mut().zip(input) {
                    *sum += input;
                }
            }
        });
        add_up(sums, means);
        repeat(means.iter().map(|sum| sum / rows), rough);
        sums.fill(0.0);
        sums_of_squares.fill(0.0);
        vectorized(|| {
            for input in input.chunks(elements) {
                let sums = sums.iter_mut().zip(sums_of_squares.iter_mut());
                for (((sum, square), input), rough) in sums.zip(input).zip(&*rough) {
                    let difference = input - rough;
                    *sum += difference;
                    *square += difference * difference;
                }
            }
        });
        add_up(sums, corrections);
        add_up(sums_of_squares, squares);
        let moments = means.iter_mut().zip(squares).zip(corrections).zip(rough);
        for (((mean, square), sum), rough) in moments {
            *mean = *rough + *sum / rows;
            *square -= *sum * *sum / rows;
        }
    });
}

/// The parameters of each channel of a normalisation; `variance` is to be biased by a factor.
#[derive(Clone, Copy)]
pub struct Channels<'a> {
    pub mean: &'a [f32],
    pub variance: &'a [f32],
    pub biased: f32,
    pub weight: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
}

/// What a value of each channel is normalised with: `(value - mean) * factor + shift`. Repeated for the rows that a loop
/// processes at a time.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    mean: &'a [f32],
    factor: &'a [f32],
    shift: &'a [f32],
}

impl Factors<'_> {
    /// Number of values of each.
    fn elements(&self) -> usize {
        self.mean.len()
    }

    /// Normalises a chunk of whole rows.
    fn apply(&self, input: &[f32], output: &mut [f32]) {
        let blocks = output.chunks_mut(self.elements()).zip(input.chunks(self.elements()));
        for (output, input) in blocks {
            let channels = self.mean.iter().zip(self.factor).zip(self.shift);
            for ((output, input), ((mean, factor), shift)) in output.iter_mut().zip(input).zip(channels) {
                *output = (input - mean) * factor + shift;
            }
        }
    }
}

impl Channels<'_> {
    fn inverse(&self, epsilon: f32) -> impl Iterator<Item = f32> + Clone {
        self.variance.iter().map(move |&variance| fast_inverse_deviation(variance * self.biased, epsilon))
    }

    /// Calls `work` with the factors of a normalisation.
    pub fn with_factors<R>(&self, size: &BatchNormSize, work: impl FnOnce(Factors<'_>) -> R) -> R {
        let elements = loop_elements(size.channels);
        with_scratch(3 * elements, |scratch| {
            let (mean, scratch) = scratch.split_at_mut(elements);
            let (factor, shift) = scratch.split_at_mut(elements);
            repeat(self.mean.iter().copied(), mean);
            let inverse = self.inverse(size.epsilon);
            match self.weight {
                Some(weight) => repeat(inverse.zip(weight).map(|(inverse, weight)| inverse * weight), factor),
                None => repeat(inverse, factor),
            }
            match self.bias {
                Some(bias) => repeat(bias.iter().copied(), shift),
                None => shift.fill(0.0),
            }
            work(Factors { mean, factor, shift })
        })
    }
}

/// Normalises all rows, and applies the epilogue to a few at a time.
pub fn normalise(
    size: &BatchNormSize,
    channels: &Channels<'_>,
    epilogue: &Epilogue,
    summand: Option<&[f32]>,
    input: &[f32],
    output: &mut [f32],
) {
    let chunk = chunk_rows(size.channels) * size.channels;
    channels.with_factors(size, |factors| {
        let chunks = output.par_chunks_mut(chunk).zip(input.par_chunks(chunk)).enumerate();
        chunks.for_each(|(number, (output, input))| {
            let summand = summand.map(|summand| &summand[number * chunk..][..output.len()]);
            let block = factors.elements();
            let blocks = output.chunks_mut(block).zip(input.chunks(block)).enumerate();
            for (number, (output, input)) in blocks {
                vectorized(|| {
                    factors.apply(input, output);
                    if let Some(summand) = summand {
                        let summand = &summand[number * block..];
                        output.iter_mut().zip(summand).for_each(|(output, summand)| *output += summand);
                    }
                });
                if let Some(activation) = epilogue.activation {
                    activation.apply(output);
                }
            }
        });
    });
}

/// The gradient that arrives at a normalisation, from tensors of all rows.
#[derive(Clone, Copy)]
pub enum Gradient<'a> {
    /// As it is.
    Plain(&'a [f32]),
    /// Times an activation's derivative, from what the activation saved.
    Saved { grad: &'a [f32], activation: Activation, saved: &'a [f32] },
    /// Times the derivative of an activation of normalised values, which are computed again.
    Recomputed { grad: &'a [f32], activation: Activation, factors: Factors<'a> },
}

impl<'a> Gradient<'a> {
    /// The gradient of a few rows of the `input`; with a derivative it is written to `product`, and `values` is scratch
    /// memory.
    fn of_block<'b>(
        &self,
        block: Range<usize>,
        input: &[f32],
        product: &'b mut [f32],
        values: &mut [f32],
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let (grad, activation) = match *self {
            Gradient::Plain(grad) => return &grad[block],
            Gradient::Saved { grad, activation, .. } | Gradient::Recomputed { grad, activation, .. } => {
                (grad, activation)
            }
        };
        let product = &mut product[..block.len()];
        product.copy_from_slice(&grad[block.clone()]);
        match *self {
            Gradient::Recomputed { factors, .. } => {
                let values = &mut values[..block.len()];
                vectorized(|| factors.apply(&input[block], values));
                if activation.saves() == Saved::Output {
                    activation.apply(values);
                }
                activation.multiply_by_derivative(product, values);
            }
            Gradient::Saved { saved, .. } => activation.multiply_by_derivative(product, &saved[block]),
            Gradient::Plain(_) => unreachable!("it has no derivative"),
        }
        product
    }

    /// Adds, for each channel of a chunk of whole rows, the gradient times the input's difference from the mean, and the
    /// gradient. If it is to be `shared`, it is also written there.
    fn add_sums(
        &self,
        chunk: Range<usize>,
        input: &[f32],
        mean: &[f32],
        sums: [&mut [f32]; 2],
        mut shared: Option<&mut [f32]>,
    ) {
        let elements = mean.len();
        let [of_products, of_gradients] = sums;
        with_scratch(4 * elements, |scratch| {
            let (product, scratch) = scratch.split_at_mut(elements);
            let (values, sums) = scratch.split_at_mut(elements);
            sums.fill(0.0);
            let (product_sums, gradient_sums) = sums.split_at_mut(elements);
            for first in chunk.clone().step_by(elements) {
                let block = first..chunk.end.min(first + elements);
                let grad = self.of_block(block.clone(), input, product, values);
                vectorized(|| {
                    let sums = product_sums.iter_mut().zip(gradient_sums.iter_mut());
                    let given = input[block.clone()].iter().zip(mean).zip(grad);
                    for ((product_sum, gradient_sum), ((input, mean), grad)) in sums.zip(given) {
                        *product_sum += grad * (input - mean);
                        *gradient_sum += grad;
                    }
                });
                if let Some(shared) = &mut shared {
                    shared[first - chunk.start..][..grad.len()].copy_from_slice(grad);
                }
            }
            add_up(product_sums, of_products);
            add_up(gradient_sums, of_gradients);
        });
    }
}

/// Sums over all rows of the gradient times the input's difference from the mean, and of the gradient, for each channel:
/// each chunk of rows is summed on its own, and the chunks are added in order. The gradient is also written to `shared`, if
/// that is given.
pub fn gradient_sums(
    size: &BatchNormSize,
    gradient: Gradient<'_>,
    input: &[f32],
    mean: &[f32],
    [of_products, of_gradients]: [&mut [f32]; 2],
    shared: Option<&mut [f32]>,
) {
    let channels = size.channels;
    let (chunk, elements) = (chunk_rows(channels) * channels, loop_elements(channels));
    let parts = input.len().div_ceil(chunk) * channels;
    with_scratch(2 * parts + elements, |scratch| {
        let (product_parts, scratch) = scratch.split_at_mut(parts);
        let (gradient_parts, means) = scratch.split_at_mut(parts);
        repeat(mean.iter().copied(), means);
        let means = &*means;
        let range = |number: usize| number * chunk..input.len().min((number + 1) * chunk);
        let sums = product_parts.par_chunks_mut(channels).zip(gradient_parts.par_chunks_mut(channels));
        match shared {
            Some(shared) => {
                sums.zip(shared.par_chunks_mut(chunk)).enumerate().for_each(|(number, (sums, shared))| {
                    gradient.add_sums(range(number), input, means, [sums.0, sums.1], Some(shared));
                });
            }
            None => sums.enumerate().for_each(|(number, sums)| {
                gradient.add_sums(range(number), input, means, [sums.0, sums.1], None);
            }),
        }
        crate::cpu::add_in_order(of_products, product_parts);
        crate::cpu::add_in_order(of_gradients, gradient_parts);
    });
}

/// The gradient of the input of all rows, given those of the weight and of the bias.
pub fn grad_input(
    size: &BatchNormSize,
    channels: &Channels<'_>,
    gradient: Gradient<'_>,
    input: &[f32],
    [grad_weight, grad_bias]: [&[f32]; 2],
    grad_input: &mut [f32],
) {
    let (elements, rows) = (loop_elements(size.channels), size.rows as f32);
    with_scratch(4 * elements, |scratch| {
        let (means, scratch) = scratch.split_at_mut(elements);
        let (factors, scratch) = scratch.split_at_mut(elements);
        let (shifts, slopes) = scratch.split_at_mut(elements);
        let inverse = channels.inverse(size.epsilon);
        repeat(channels.mean.iter().copied(), means);
        match channels.weight {
            Some(weight) => {
                repeat(inverse.clone().zip(weight).map(|(inverse, weight)| inverse * weight), factors);
            }
            None => repeat(inverse.clone(), factors),
        }
        repeat(grad_bias.iter().map(|grad| grad / rows), shifts);
        repeat(inverse.zip(grad_weight).map(|(inverse, grad)| inverse * grad / rows), slopes);
        let (means, factors, shifts, slopes) = (&*means, &*factors, &*shifts, &*slopes);
        let chunk = chunk_rows(size.channels) * size.channels;
        grad_input.par_chunks_mut(chunk).enumerate().for_each(|(number, grad_input)| {
            with_scratch(2 * elements, |scratch| {
                let (product, values) = scratch.split_at_mut(elements);
                for (block, grad_input) in grad_input.chunks_mut(elements).enumerate() {
                    let first = number * chunk + block * elements;
                    let block = first..first + grad_input.len();
                    let grad = gradient.of_block(block.clone(), input, product, values);
                    vectorized(|| {
                        let channels = means.iter().zip(factors).zip(shifts).zip(slopes);
                        let given = input[block.clone()].iter().zip(grad).zip(channels);
                        for (grad_input, ((input, grad), (((mean, factor), shift), slope))) in
                            grad_input.iter_mut().zip(given)
                        {
                            *grad_input = factor * (grad - shift - (input - mean) * slope);
                        }
                    });
                }
            });
        });
    });
}
