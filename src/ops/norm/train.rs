//! Normalisation with the statistics of the batch itself.

use super::cpu::{Channels, moments, normalise};
use super::forward::{after_normalising, complete_finish, direct};
use super::slices::Slices;
use super::{BatchNormSize, complete_bias, complete_weight, inverse_deviation, largest_inverse_deviation};
use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::parts::Loops;

/// Normalises each channel with the mean and the variance of its values.
///
/// ```text
/// mean[k] = sum over rows of input[row,k] / rows
/// squares[k] = sum over rows of (input[row,k] - mean[k])^2
/// output[row,k] = (input[row,k] - mean[k]) / sqrt(squares[k] / rows + epsilon) * weight[k] + bias[k]
/// variance[k] = squares[k] / (rows - 1)
/// ```
///
/// The variance is the unbiased one, which running statistics follow; values are normalised with the biased one.
///
/// No implementation subtracts large sums from each other, so that the variance loses no digits if the mean is far from
/// zero.
///
/// # Shapes
/// input `[rows,K]`, of at least two rows -> output `[rows,K]`, mean `[K]`, variance `[K]`; then weight `[K]` and bias `[K]`
/// if there are any, and the summand `[rows,K]` if the epilogue has one.
///
/// # Source
/// Ioffe and Szegedy 2015; Chan, Golub and LeVeque 1979, for combining the moments of parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormTrain {
    size: BatchNormSize,
    epilogue: Epilogue,
}

/// Numbers of operands.
pub const INPUT: usize = 0;
pub const OUTPUT: usize = 1;
pub const MEAN: usize = 2;
pub const VARIANCE: usize = 3;
pub const WEIGHT: usize = 4;
pub const BIAS: usize = 5;

impl BatchNormTrain {
    /// The normalisation without an epilogue.
    ///
    /// # Panics
    /// If there is only one row, which has no variance.
    pub fn new(size: BatchNormSize) -> Self {
        assert!(size.rows > 1, "statistics of a single row");
        BatchNormTrain { size, epilogue: Epilogue::NONE }
    }

    /// The same normalisation with an epilogue of a summand or an activation or both.
    ///
    /// # Panics
    /// If the epilogue does anything else.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Self {
        assert!(after_normalising(epilogue).is_some(), "{epilogue:?} after a normalisation");
        BatchNormTrain { epilogue, ..self }
    }

    /// The size of what comes before this epilogue, if it is the one that this normalisation has.
    pub fn before(&self, epilogue: Epilogue) -> Option<BatchNormSize> {
        (self.epilogue == epilogue).then_some(self.size)
    }

    /// The sizes of the tensor.
    pub fn shape(&self) -> [usize; 2] {
        self.size.shape()
    }

    /// The number of the epilogue's first operand.
    fn of_epilogue(&self) -> usize {
        if self.size.affine { 6 } else { 4 }
    }

    /// The definition of the mean and of the sum of squared differences of channel `k`.
    fn moments_of(&self, k: usize, input: impl Fn(usize) -> f64) -> [f64; 2] {
        let BatchNormSize { rows, channels, .. } = self.size;
        let sum = |value: &dyn Fn(f64) -> f64| -> f64 {
            (0..rows).map(|row| value(input(row * channels + k))).sum()
        };
        let mean = sum(&|x| x) / rows as f64;
        [mean, sum(&|x| (x - mean).powi(2))]
    }

    /// The definition of one value of the output, from the moments of its channel.
    fn output_at(&self, index: usize, [mean, squares]: [f64; 2], at: impl Fn(usize, usize) -> f64) -> f64 {
        let BatchNormSize { rows, channels, epsilon, affine } = self.size;
        let k = index % channels;
        let normalised = (at(INPUT, index) - mean) * inverse_deviation(squares / rows as f64, epsilon);
        let value = if affine { normalised * at(WEIGHT, k) + at(BIAS, k) } else { normalised };
        let read = |operand: usize, position: usize| at(self.of_epilogue() + operand, position);
        self.epilogue.define(value, index, channels, read)
    }

    /// The definition of the unbiased variance.
    fn variance(&self, squares: f64) -> f64 {
        squares / (self.size.rows as f64 - 1.0)
    }

    /// Two launches: the moments of slices of the rows; then all else.
    fn sliced(&self, slices: &Slices) -> Implementation {
        let first = shader!("norm/train_slices.wgsl", "norm/lanes.wgsl", "norm/moments.wgsl", "grid.wgsl");
        let first = slices.call(first, vec![Binding::Operand(INPUT), Binding::Workspace(0)]);
        let second = self.last_launch(slices, 0, [slices.count, slices.slice_rows]);
        let workspace = vec![2 * slices.count * self.size.channels];
        Implementation::of_calls("sliced", vec![first, second], workspace).tailored()
    }

    /// One or two launches that go on where the moments of every `tile_rows` rows lie in the first scratch buffer, as pairs of
    /// a mean and a sum of squared differences from it, for each tile and channel. `None` where slices do not fit the device.
    pub(in crate::ops) fn after_tiles(
        &self,
        tile_rows: usize,
        device: &DeviceProfile,
    ) -> Option<Implementation> {
        let BatchNormSize { rows, channels, .. } = self.size;
        let slices = Slices::new(&self.size, device)?;
        let tiles = rows.div_ceil(tile_rows);
        let part_tiles = slices.tiles_of_part(tiles);
        let parts = tiles.div_ceil(part_tiles);
        let mut workspace = vec![2 * tiles * channels];
        let mut calls = Vec::new();
        if part_tiles > 1 {
            let constants = vec![
                ("ROWS", rows.into()),
                ("CHANNELS", channels.into()),
                ("TILE_ROWS", tile_rows.into()),
                ("PART_TILES", part_tiles.into()),
            ];
            let source = shader!("norm/train_tiles.wgsl", "norm/moments.wgsl", "grid.wgsl");
            let mut call = KernelCall::elementwise(source, constants, 0, parts * channels);
            call.bindings = [0, 1].map(Binding::Workspace).to_vec();
            calls.push(call);
            workspace.push(2 * parts * channels);
        }
        let moments = workspace.len() - 1;
        calls.push(self.last_launch(&slices, moments, [parts, part_tiles * tile_rows]));
        let fits = part_tiles <= device.loop_trips();
        fits.then(|| Implementation::of_calls("after tiles", calls, workspace))
    }

    /// Everything for the rows of a slice, for which each workgroup combines the moments of all parts of the rows: so many, each
    /// of so many rows. The moments lie in the scratch buffer of this number.
    fn last_launch(&self, slices: &Slices, moments: usize, [parts, part_rows]: [usize; 2]) -> KernelCall {
        let operand = Binding::Operand;
        let source = shader!(
            "norm/train_rows.wgsl",
            "norm/batch_deviation.wgsl",
            "norm/deviation.wgsl",
            "norm/lanes.wgsl",
            "norm/moments.wgsl",
            "grid.wgsl"
        );
        let bindings = vec![
            operand(INPUT),
            Binding::Workspace(moments),
            operand(OUTPUT),
            operand(MEAN),
            operand(VARIANCE),
        ];
        let mut call = slices.call(source, bindings);
        call.constants.extend([("PARTS", parts.into()), ("PART_ROWS", part_rows.into())]);
        call.constants.extend(self.size.of_deviation(self.size.biased()));
        self.complete(&mut call);
        call
    }

    /// The rounding errors of statistics, in units of those of a value.
    fn statistics_error(&self) -> f64 {
        4.0 + (self.size.rows as f64).sqrt() / 8.0
    }

    fn weight(&self) -> Option<usize> {
        self.size.affine.then_some(WEIGHT)
    }

    fn complete(&self, call: &mut KernelCall) {
        complete_weight(call, self.weight());
        complete_bias(call, self.weight().map(|weight| weight + 1));
        complete_finish(call, &self.epilogue, self.of_epilogue());
    }
}

impl Op for BatchNormTrain {
    fn name(&self) -> &'static str {
        "batch_norm.train"
    }

    fn operands(&self) -> Vec<Operand> {
        let channels = self.size.channels;
        let mut operands = vec![
            Operand::read("input", self.size.shape()),
            Operand::write("output", self.size.shape()),
            Operand::write("mean", [channels]),
            Operand::write("variance", [channels]),
        ];
        if self.size.affine {
            operands.extend(["weight", "bias"].map(|name| Operand::read(name, [channels])));
        }
        operands.extend(self.epilogue.operands(self.size.shape()));
        operands
    }

    fn takes_halves(&self, operand: usize) -> bool {
        ![MEAN, VARIANCE].contains(&operand)
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let channels = self.size.channels;
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let moments: Vec<[f64; 2]> =
            (0..channels).map(|k| self.moments_of(k, |index| at(INPUT, index))).collect();
        let value = |index: usize| self.output_at(index, moments[index % channels], at);
        let output: Vec<f64> = (0..self.size.elements()).map(value).collect();
        buffers[OUTPUT].reals_mut().copy_from_slice(&output);
        for (k, [mean, squares]) in moments.into_iter().enumerate() {
            buffers[MEAN].reals_mut()[k] = mean;
            buffers[VARIANCE].reals_mut()[k] = self.variance(squares);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let (elements, channels) = (self.size.elements(), self.size.channels);
        let moments = self.moments_of(index % channels, |index| read(INPUT, index));
        let [mean, squares] = moments;
        Some(match index.checked_sub(elements) {
            None => self.output_at(index, moments, read),
            Some(statistic) if statistic < channels => mean,
            Some(_) => self.variance(squares),
        })
    }

    /// The input is read twice: once for the statistics, once to be normalised.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, output, mean, variance], more) = operands.split();
            let (input, mean, variance) = (input.reals(), mean.reals_mut(), variance.reals_mut());
            moments(input, &self.size, mean, variance);
            let count = self.size.rows as f32 - 1.0;
            variance.iter_mut().for_each(|squares| *squares /= count);
            let affine = |number: usize| self.size.affine.then(|| more[number].reals());
            let (weight, bias) = (affine(0), affine(1));
            let of_epilogue = self.of_epilogue() - WEIGHT;
            let summand = self.epilogue.summand().map(|number| more[of_epilogue + number].reals());
            let biased = self.size.biased() as f32;
            let channels = Channels { mean, variance, biased, weight, bias };
            normalise(&self.size, &channels, &self.epilogue, summand, input, output.reals_mut());
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let BatchNormSize { rows, channels, .. } = self.size;
        let sliced = Slices::new(&self.size, device).map(|slices| self.sliced(&slices));
        let statistics =
            shader!("norm/statistics_direct.wgsl", "norm/moments.wgsl", "part.wgsl", "grid.wgsl");
        let mut statistics =
            KernelCall::elementwise(statistics, vec![("CHANNELS", channels.into())], 3, channels);
        statistics.bindings = [INPUT, MEAN, VARIANCE].map(Binding::Operand).to_vec();
        let mut calls = Loops::over(rows).launches(&statistics, device);
        let (biased, weight) = (self.size.biased(), self.weight());
        let (operands, written) = ([INPUT, OUTPUT, MEAN, VARIANCE], shader!("norm/own_statistics.wgsl"));
        let of_epilogue = self.of_epilogue();
        calls.push(direct(&self.size, biased, operands, written, weight, &self.epilogue, of_epilogue));
        let direct = Implementation::of_calls("direct", calls, Vec::new());
        best_first(sliced.into_iter().chain([direct]).collect())
    }

    fn fuse_epilogue(&self, operand: usize, next: Epilogue) -> Option<Box<dyn Op>> {
        let epilogue = self.epilogue.then(after_normalising(next)?)?;
        (operand == OUTPUT).then(|| Box::new(BatchNormTrain { epilogue, ..*self }) as Box<dyn Op>)
    }

    /// A sum, a difference and the sum of its squares, then a difference, a product and a multiply-add per value.
    fn flops(&self) -> u64 {
        8 * self.size.elements() as u64
    }

    /// The rounding errors of sums as large as the number of their terms, divided by that number: since their signs are
    /// random, they grow with its square root.
    fn precision(&self) -> Precision {
        let normalised = self.statistics_error() * (1.0 + largest_inverse_deviation(self.size.epsilon));
        self.epilogue.precision(Precision::approximate(normalised))
    }

    fn precision_of(&self, operand: usize) -> Precision {
        match operand {
            MEAN | VARIANCE => Precision::approximate(self.statistics_error()),
            _ => self.precision(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    #[test]
    fn equal_values_have_no_variance_and_nan_spreads_in_its_channel_alone() {
        let size = BatchNormSize { rows: 5003, channels: 3, epsilon: 1e-5, affine: false };
        let mut input = [0.1, 12_345.678, -7.0f32].repeat(size.rows);
        input[3 * 4000 + 2] = f32::NAN;
        let results = [size.elements(), 3, 3].map(|elements| HostBuffer::real(vec![f32::NAN; elements]));
        let mut operands = Operands::new([vec![HostBuffer::real(input)], results.into()].concat());
        BatchNormTrain::new(size).cpu_forms()[0].run(&mut operands);
        let [_, output, mean, variance] = operands.all();
        let (mean, variance) = (mean.reals(), variance.reals());
        assert!((mean[0] - 0.1).abs() < 1e-7 && (mean[1] - 12_345.678).abs() < 2e-3, "{mean:?}");
        assert!((0.0..1e-12).contains(&variance[0]) && (0.0..1e-5).contains(&variance[1]), "{variance:?}");
        assert!(mean[2].is_nan() && variance[2].is_nan());
        assert!(output.reals().chunks(3).all(|row| row[0].abs() < 1.0 && row[2].is_nan()));
    }
}
