//! Batch normalisation on the CPU: a chunk of rows at a time on each core.

use std::ops::Range;

use rayon::prelude::*;

use super::loops::{Differences, Factors, GradientSums, InputGradients, Normalising, Sums};
use super::repeated::{add_up, block_elements, chunk_elements, first_elements, repeat, run_in_blocks};
use super::{BatchNormSize, fast_inverse_deviation};
use crate::cpu::{add_in_order, with_scratch};
use crate::ops::activation::{Activation, Saved};
use crate::ops::epilogue::Epilogue;

/// Number of channels whose moments a core combines at a time.
const CHUNK_CHANNELS: usize = 256;

/// The mean of each channel over all rows, and the sum of squared differences from it. Each chunk of rows has moments of
/// its own; they are combined in order.
pub fn moments(input: &[f32], size: &BatchNormSize, mean: &mut [f32], squares: &mut [f32]) {
    let channels = size.channels;
    let rows = chunk_elements(channels) / channels;
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

/// Means of a chunk of rows, and sums of squared differences from them. The means are computed roughly at first, from the
/// chunk's first rows, and corrected once the differences from them have been summed. If these rows are `k` of `n`, the
/// square of a rough mean's error is at most `n / k` variances, whatever the values: few digits are lost in a difference.
fn moments_of_chunk(input: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let channels = means.len();
    let block = block_elements(channels);
    let rows = (input.len() / channels) as f32;
    with_scratch(3 * block + channels, |scratch| {
        let (rough, scratch) = scratch.split_at_mut(block);
        let (sums, scratch) = scratch.split_at_mut(block);
        let (sums_of_squares, corrections) = scratch.split_at_mut(block);
        let first = first_elements(channels).min(input.len());
        sums.fill(0.0);
        run_in_blocks(0..first, block, &mut Sums { input, sums });
        add_up(sums, means);
        repeat(means.iter().map(|sum| sum / (first / channels) as f32), rough);
        sums.fill(0.0);
        sums_of_squares.fill(0.0);
        run_in_blocks(
            0..input.len(),
            block,
            &mut Differences { input, rough, sums, squares: sums_of_squares },
        );
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

impl Factors<'_> {
    /// Normalises a chunk of whole rows.
    fn apply(&self, input: &[f32], output: &mut [f32]) {
        let mut work = Normalising::<false> { input, summand: None, output, factors: *self };
        run_in_blocks(0..input.len(), self.mean.len(), &mut work);
    }
}

impl Channels<'_> {
    fn inverse(&self, epsilon: f32) -> impl ExactSizeIterator<Item = f32> {
        self.variance.iter().map(move |&variance| fast_inverse_deviation(variance * self.biased, epsilon))
    }

    /// Calls `work` with the factors of a normalisation.
    pub fn with_factors<R>(&self, size: &BatchNormSize, work: impl FnOnce(Factors<'_>) -> R) -> R {
        let elements = block_elements(size.channels);
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

/// Normalises all rows, and applies the epilogue to them while they are in a cache. The last rows come first, since whoever
/// summed up the moments has read them last: a part of a large tensor is then still in a cache.
pub fn normalise(
    size: &BatchNormSize,
    channels: &Channels<'_>,
    epilogue: &Epilogue,
    summand: Option<&[f32]>,
    input: &[f32],
    output: &mut [f32],
) {
    let chunk = chunk_elements(size.channels);
    channels.with_factors(size, |factors| {
        let chunks = output.par_chunks_mut(chunk).zip(input.par_chunks(chunk)).enumerate();
        chunks.rev().for_each(|(number, (output, input))| {
            let summand = summand.map(|summand| &summand[number * chunk..][..output.len()]);
            let (all, block) = (0..input.len(), factors.mean.len());
            // The most frequent function is applied to the values at once.
            let is_relu = epilogue.activation == Some(Activation::Relu);
            if is_relu {
                let mut work = Normalising::<true> { input, summand, output, factors };
                run_in_blocks(all, block, &mut work);
            } else {
                let mut work = Normalising::<false> { input, summand, output, factors };
                run_in_blocks(all, block, &mut work);
            }
            if let Some(activation) = epilogue.activation.filter(|_| !is_relu) {
                activation.apply(output);
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
    Recomputed { grad: &'a [f32], activation: Activation },
}

impl Gradient<'_> {
    /// Whether a derivative is computed again more cheaply than its product is written and read.
    pub fn is_cheap(&self) -> bool {
        matches!(self, Gradient::Plain(_) | Gradient::Recomputed { activation: Activation::Relu, .. })
    }

    /// Writes the gradient of a chunk of rows to `product`.
    fn write(&self, chunk: Range<usize>, input: &[f32], factors: &Factors<'_>, product: &mut [f32]) {
        match *self {
            Gradient::Plain(grad) => product.copy_from_slice(&grad[chunk]),
            Gradient::Saved { grad, activation, saved } => {
                product.copy_from_slice(&grad[chunk.clone()]);
                activation.multiply_by_derivative(product, &saved[chunk]);
            }
            Gradient::Recomputed { grad, activation } => with_scratch(chunk.len(), |values| {
                factors.apply(&input[chunk.clone()], values);
                if activation.saves() == Saved::Output {
                    activation.apply(values);
                }
                product.copy_from_slice(&grad[chunk]);
                activation.multiply_by_derivative(product, values);
            }),
        }
    }

    /// The gradient as it is in memory, and whether it is zero where a normalised value is not positive.
    fn read(&self) -> (&[f32], bool) {
        match *self {
            Gradient::Plain(grad) => (grad, false),
            Gradient::Saved { grad, .. } | Gradient::Recomputed { grad, .. } => (grad, true),
        }
    }
}

/// Sums over all rows of the gradient times the input's difference from the mean, and of the gradient, for each channel:
/// each chunk of rows is summed on its own, and the chunks are added in order. The gradient is also written to `shared`, if
/// that is given.
pub fn gradient_sums(
    size: &BatchNormSize,
    gradient: &Gradient<'_>,
    input: &[f32],
    factors: &Factors<'_>,
    [of_products, of_gradients]: [&mut [f32]; 2],
    shared: Option<&mut [f32]>,
) {
    let channels = size.channels;
    let chunk = chunk_elements(size.channels);
    let parts = input.len().div_ceil(chunk) * channels;
    let sum = |grad: &[f32], input: &[f32], is_behind_relu: bool, [products, gradients]: [&mut [f32]; 2]| {
        let block = block_elements(channels);
        with_scratch(2 * block, |sums| {
            sums.fill(0.0);
            let (of_products, of_gradients) = sums.split_at_mut(block);
            let (all, factors) = (0..input.len(), *factors);
            if is_behind_relu {
                let mut work = GradientSums::<true> { input, grad, factors, of_products, of_gradients };
                run_in_blocks(all, block, &mut work);
            } else {
                let mut work = GradientSums::<false> { input, grad, factors, of_products, of_gradients };
                run_in_blocks(all, block, &mut work);
            }
            add_up(of_products, products);
            add_up(of_gradients, gradients);
        });
    };
    with_scratch(2 * parts, |parts| {
        let middle = parts.len() / 2;
        let (product_parts, gradient_parts) = parts.split_at_mut(middle);
        let sums = product_parts.par_chunks_mut(channels).zip(gradient_parts.par_chunks_mut(channels));
        let chunks = sums.zip(input.par_chunks(chunk)).enumerate();
        match shared {
            Some(shared) => chunks.zip(shared.par_chunks_mut(chunk)).for_each(
                |((number, ((products, gradients), of_chunk)), shared)| {
                    let first = number * chunk;
                    gradient.write(first..first + shared.len(), input, factors, shared);
                    sum(shared, of_chunk, false, [products, gradients]);
                },
            ),
            None if !gradient.is_cheap() => chunks.for_each(|(number, ((products, gradients), of_chunk))| {
                with_scratch(of_chunk.len(), |grad| {
                    let first = number * chunk;
                    gradient.write(first..first + grad.len(), input, factors, grad);
                    sum(grad, of_chunk, false, [products, gradients]);
                });
            }),
            None => {
                let (grad, is_behind_relu) = gradient.read();
                chunks.for_each(|(number, ((products, gradients), of_chunk))| {
                    let grad = &grad[number * chunk..][..of_chunk.len()];
                    sum(grad, of_chunk, is_behind_relu, [products, gradients]);
                });
            }
        }
        add_in_order(of_products, product_parts);
        add_in_order(of_gradients, gradient_parts);
    });
}

/// The gradient of the input of all rows, given those of the weight and of the bias. The gradient of normalised values is
/// in the memory of the result if it is not given; if it is, it [is cheap](Gradient::is_cheap). As in [`normalise`], the last
/// rows come first.
pub fn grad_input(
    size: &BatchNormSize,
    channels: &Channels<'_>,
    gradient: Option<&Gradient<'_>>,
    input: &[f32],
    factors: &Factors<'_>,
    [grad_weight, grad_bias]: [&[f32]; 2],
    grad_input: &mut [f32],
) {
    let (block, rows) = (block_elements(size.channels), size.rows as f32);
    with_scratch(2 * block, |scratch| {
        let (share, slope) = scratch.split_at_mut(block);
        repeat(grad_bias.iter().map(|grad| grad / rows), share);
        let inverse = channels.inverse(size.epsilon);
        repeat(inverse.zip(grad_weight).map(|(inverse, grad)| inverse * grad / rows), slope);
        let (share, slope) = (&*share, &*slope);
        let chunk = chunk_elements(size.channels);
        let (grad, is_behind_relu) = gradient.map(Gradient::read).unzip();
        let chunks = grad_input.par_chunks_mut(chunk).zip(input.par_chunks(chunk)).enumerate();
        chunks.rev().for_each(|(number, (grad_input, input))| {
            let grad = grad.map(|grad| &grad[number * chunk..][..input.len()]);
            let (all, factors) = (0..input.len(), *factors);
            if is_behind_relu == Some(true) {
                let mut work = InputGradients::<true> { input, grad, grad_input, factors, share, slope };
                run_in_blocks(all, block, &mut work);
            } else {
                let mut work = InputGradients::<false> { input, grad, grad_input, factors, share, slope };
                run_in_blocks(all, block, &mut work);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_values_do_not_depend_on_the_number_of_rows() {
        for channels in [1, 3, 24, 40, 64, 65, 700] {
            let values = |factor: usize| {
                let values = (0..channels).map(|c| (c * factor % 97) as f32 / 31.0);
                let mut repeated = vec![f32::NAN; block_elements(channels)];
                repeat(values, &mut repeated);
                repeated
            };
            let [mean, factor, shift] = [7, 13, 29].map(values);
            let factors = Factors { mean: &mean, factor: &factor, shift: &shift };
            let input: Vec<f32> = (0..200 * channels).map(|i| (i * 7919 % 1009) as f32 / 512.0).collect();
            let mut all = vec![f32::NAN; input.len()];
            factors.apply(&input, &mut all);
            for rows in (1..20).chain([63, 64, 65, 199]) {
                let elements = rows * channels;
                let mut some = vec![f32::NAN; elements];
                factors.apply(&input[..elements], &mut some);
                assert_eq!(some, all[..elements], "{rows} rows of {channels} channels");
            }
        }
    }

    #[test]
    fn moments_keep_their_digits_when_the_first_rows_are_unlike_the_others() {
        for channels in [1, 3, 64, 560] {
            let rows = chunk_elements(channels) / channels;
            let unlike = first_elements(channels) / channels;
            assert!(8 * unlike >= rows, "{unlike} of {rows} rows");
            // Of the longest sum in one place; the squares of differences are up to nine variances.
            let rounding = (rows * channels / block_elements(channels)) as f64 * f64::from(f32::EPSILON);
            for distance in [0.0, 1.0, 1e3, 1e6] {
                let value = |i: usize| {
                    let first = if i / channels < unlike { distance } else { 0.0 };
                    first + (i * 7919 % 1009) as f32 / 512.0
                };
                let input: Vec<f32> = (0..rows * channels).map(value).collect();
                let (mut means, mut squares) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
                moments_of_chunk(&input, &mut means, &mut squares);
                for (channel, (&mean, &square)) in means.iter().zip(&squares).enumerate() {
                    let values =
                        || input.iter().skip(channel).step_by(channels).map(|&value| f64::from(value));
                    let expected_mean = values().sum::<f64>() / rows as f64;
                    let expected = values().map(|value| (value - expected_mean).powi(2)).sum::<f64>();
                    let error = (f64::from(square) - expected).abs() / expected;
                    assert!(
                        error < 9.0 * rounding,
                        "{channels} channels, {distance} away: {square} is off by {error:e}"
                    );
                    let error = (f64::from(mean) - expected_mean).abs();
                    assert!(
                        error < rounding * f64::from(1.0 + distance),
                        "{channels} channels: {mean} is off by {error:e}"
                    );
                }
            }
        }
    }
}
