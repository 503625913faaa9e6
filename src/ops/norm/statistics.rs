//! The mean and the variance of each channel.

use rayon::prelude::*;

use super::repeated::{add_up, loop_elements, repeat};
use super::slices::TwoPasses;
use crate::cpu::{vectorized, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::parts::Loops;
use crate::ops::rows::chunk_rows;

/// Mean and variance of each channel over all rows.
///
/// ```text
/// mean[k] = sum over rows of input[row,k] / rows
/// variance[k] = sum over rows of (input[row,k] - mean[k])^2 / rows
/// ```
///
/// No implementation subtracts large sums from each other, so that the variance loses no digits if the mean is far from
/// zero.
///
/// # Shapes
/// input `[rows,K]` -> mean `[K]`, variance `[K]`.
///
/// # Source
/// Chan, Golub and LeVeque 1979, for combining the moments of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormStatistics {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

/// Number of channels that a core sums at a time.
const CHUNK_CHANNELS: usize = 256;

impl BatchNormStatistics {
    /// The definition of the mean and the variance of channel `k`.
    fn moments_of(&self, k: usize, input: impl Fn(usize) -> f64) -> [f64; 2] {
        let average = |value: &dyn Fn(f64) -> f64| {
            let column = (0..self.rows).map(|row| value(input(row * self.channels + k)));
            column.sum::<f64>() / self.rows as f64
        };
        let mean = average(&|x| x);
        [mean, average(&|x| (x - mean).powi(2))]
    }

    /// Means of a chunk of rows, and sums of squared differences from them. The means are computed roughly at first,
    /// and corrected once the differences from them have been summed.
    fn moments_of_chunk(&self, input: &[f32], means: &mut [f32], squares: &mut [f32]) {
        let elements = loop_elements(self.channels);
        let rows = (input.len() / self.channels) as f32;
        with_scratch(3 * elements + self.channels, |scratch| {
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
}

impl Op for BatchNormStatistics {
    fn name(&self) -> &'static str {
        "batch_norm.statistics"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.rows, self.channels]),
            Operand::write("mean", [self.channels]),
            Operand::write("variance", [self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, mean, variance] = operands.all();
        for k in 0..self.channels {
            let moments = self.moments_of(k, |index| input.reals()[index]);
            [mean.reals_mut()[k], variance.reals_mut()[k]] = moments;
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let moments = self.moments_of(index % self.channels, |index| read(0, index));
        Some(moments[index / self.channels])
    }

    /// Each chunk of rows has moments of its own; they are added up in order.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, mean, variance] = operands.all();
            let (channels, rows) = (self.channels, chunk_rows(self.channels));
            let elements = self.rows.div_ceil(rows) * channels;
            with_scratch(2 * elements, |scratch| {
                let (means, squares) = scratch.split_at_mut(elements);
                let moments = means.par_chunks_mut(channels).zip(squares.par_chunks_mut(channels));
                let chunks = moments.zip(input.reals().par_chunks(rows * channels));
                chunks.for_each(|((means, squares), input)| self.moments_of_chunk(input, means, squares));
                let (means, squares) = (&*means, &*squares);
                let mean = mean.reals_mut().par_chunks_mut(CHUNK_CHANNELS);
                let variance = variance.reals_mut().par_chunks_mut(CHUNK_CHANNELS);
                mean.zip(variance).enumerate().for_each(|(chunk, (mean, variance))| {
                    let first = chunk * CHUNK_CHANNELS;
                    mean.fill(0.0);
                    variance.fill(0.0);
                    // Relative to one of them, means are close to zero.
                    let origins = &means[first..];
                    let moments = means.chunks_exact(channels).zip(squares.chunks_exact(channels));
                    for (number, (means, squares)) in moments.enumerate() {
                        let before = number * rows;
                        let count = rows.min(self.rows - before) as f32;
                        let (before, together) = (before as f32, before as f32 + count);
                        let share = count / together;
                        let moments = mean.iter_mut().zip(variance.iter_mut()).zip(origins);
                        let added = means[first..].iter().zip(&squares[first..]);
                        for (((mean, square), origin), (added_mean, added_square)) in moments.zip(added) {
                            let difference = added_mean - origin - *mean;
                            *mean += difference * share;
                            *square += added_square + difference * difference * before * share;
                        }
                    }
                    for (mean, origin) in mean.iter_mut().zip(origins) {
                        *mean += origin;
                    }
                    for variance in variance {
                        *variance = (*variance / self.rows as f32).clamp(0.0, f32::INFINITY);
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let sliced = TwoPasses {
            rows: self.rows,
            channels: self.channels,
            first: shader!(
                "norm/statistics_sliced.wgsl",
                "norm/lanes.wgsl",
                "norm/moments.wgsl",
                "grid.wgsl"
            ),
            constants: Vec::new(),
            operands: 3,
            second: shader!(
                "norm/statistics_of_slices.wgsl",
                "norm/lanes.wgsl",
                "norm/moments.wgsl",
                "grid.wgsl"
            ),
        };
        let direct = shader!("norm/statistics_direct.wgsl", "norm/moments.wgsl", "part.wgsl", "grid.wgsl");
        let constants = vec![("CHANNELS", self.channels.into())];
        let direct = KernelCall::elementwise(direct, constants, 3, self.channels);
        let direct = Loops::over(self.rows).direct(&direct, device);
        best_first(sliced.sliced(device).into_iter().chain([direct]).collect())
    }

    /// A sum, a difference, and the sum of its squares.
    fn flops(&self) -> u64 {
        4 * self.rows as u64 * self.channels as u64
    }

    /// The rounding errors of sums as large as the number of their terms, divided by that number: since their signs are
    /// random, they grow with its square root.
    fn precision(&self) -> Precision {
        Precision::approximate(4.0 + (self.rows as f64).sqrt() / 8.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    #[test]
    fn equal_values_have_no_variance_and_nan_spreads_in_its_channel_alone() {
        let op = BatchNormStatistics { rows: 5003, channels: 3 };
        let mut input = [0.1, 12_345.678, -7.0f32].repeat(op.rows);
        input[3 * 4000 + 2] = f32::NAN;
        let results = [vec![f32::NAN; 3], vec![f32::NAN; 3]].map(HostBuffer::real);
        let mut operands = Operands::new([vec![HostBuffer::real(input)], results.into()].concat());
        op.cpu_forms()[0].run(&mut operands);
        let [_, mean, variance] = operands.all();
        let (mean, variance) = (mean.reals(), variance.reals());
        assert!((mean[0] - 0.1).abs() < 1e-7 && (mean[1] - 12_345.678).abs() < 2e-3, "{mean:?}");
        assert!((0.0..1e-12).contains(&variance[0]) && (0.0..1e-5).contains(&variance[1]), "{variance:?}");
        assert!(mean[2].is_nan() && variance[2].is_nan());
    }
}
