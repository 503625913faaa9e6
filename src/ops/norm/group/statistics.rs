//! The statistics of groups.

use rayon::prelude::*;

use super::{GroupSize, fewest_samples, reduction, sum};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Mean and biased variance of each group of channels of each sample.
///
/// `mean[n,g] = sum of its input / count`, `variance[n,g] = sum of (input - mean[n,g])^2 / count`, over the rows of sample n
/// and the channels of group g
///
/// # Shapes
/// input `[samples,rows,K]` -> mean `[samples,groups]`, variance `[samples,groups]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupNormStatistics {
    /// The sizes.
    pub size: GroupSize,
}

impl GroupNormStatistics {
    /// The definition of a group's mean and variance.
    fn moments(&self, segment: usize, input: impl Fn(usize) -> f64) -> [f64; 2] {
        let count = self.size.count() as f64;
        let values = || self.size.indices(segment).map(&input);
        let mean = values().sum::<f64>() / count;
        [mean, values().map(|value| (value - mean).powi(2)).sum::<f64>() / count]
    }
}

impl Op for GroupNormStatistics {
    fn name(&self) -> &'static str {
        "group_norm.statistics"
    }

    fn operands(&self) -> Vec<Operand> {
        let GroupSize { samples, rows, channels, groups } = self.size;
        vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::write("mean", [samples, groups]),
            Operand::write("variance", [samples, groups]),
        ]
    }

    fn takes_halves(&self, operand: usize) -> bool {
        !self.operands()[operand].access.writes()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, mean, variance] = operands.all();
        for segment in 0..self.size.segments() {
            let moments = self.moments(segment, |index| input.reals()[index]);
            [mean.reals_mut()[segment], variance.reals_mut()[segment]] = moments;
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let segments = self.size.segments();
        Some(self.moments(index % segments, |index| read(0, index))[index / segments])
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, mean, variance] = operands.all();
            let size = &self.size;
            let (width, count) = (size.group_channels(), size.count() as f64);
            let results = mean.reals_mut().par_chunks_mut(size.groups);
            let results = results.zip(variance.reals_mut().par_chunks_mut(size.groups));
            let samples = input.reals().par_chunks(size.rows * size.channels);
            let work = results.zip(samples).with_min_len(fewest_samples(size));
            work.for_each(|((means, variances), input)| {
                vectorized(|| {
                    for (group, (mean, variance)) in means.iter_mut().zip(variances).enumerate() {
                        let parts =
                            || input.chunks_exact(size.channels).map(|row| &row[group * width..][..width]);
                        let total: f64 = parts().map(|part| sum([part], |[x]| x)).sum();
                        *mean = (total / count) as f32;
                        let squares: f64 =
                            parts().map(|part| sum([part], |[x]| (x - *mean) * (x - *mean))).sum();
                        *variance = (squares / count) as f32;
                    }
                });
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("norm/group/statistics.wgsl");
        let combine = shader!("norm/moments.wgsl");
        reduction::implementations(&self.size, &source, &combine, 3, |_| (), device)
    }

    /// Two sums, a difference and a square.
    fn flops(&self) -> u64 {
        4 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        Precision::approximate(4.0 + (self.size.count() as f64).sqrt() / 8.0)
    }
}
