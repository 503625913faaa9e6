//! The running statistics, which outlive a step.

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, HostBuffer, Op, Operand, Operands, Precision};

/// Moves the running statistics towards those of a batch, if `loss[step]` is finite.
///
/// ```text
/// running_mean[k] = (1 - momentum) * running_mean[k] + momentum * mean[k]
/// running_var[k] = (1 - momentum) * running_var[k] + momentum * variance[k] * rows / (rows - 1)
/// ```
///
/// A step whose loss is not finite does not change them, nor does a step past the end.
///
/// # Shapes
/// mean `[K]`, variance `[K]`, step `[1]`, loss `[steps]`; running_mean `[K]` and running_var `[K]`, in place.
///
/// # Source
/// `torch.nn.BatchNorm2d`: normalisation uses the biased variance, and the running variance is unbiased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormRunning {
    /// Number of rows of the batch: at least two.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// Weight of the batch in the new statistics.
    pub momentum: f32,
    /// Number of losses that are kept, one per training step.
    pub steps: usize,
}

impl BatchNormRunning {
    /// The factor that makes a variance unbiased.
    fn correction(&self) -> f64 {
        self.rows as f64 / (self.rows as f64 - 1.0)
    }
}

/// Whether the step is within the run and its loss finite.
fn is_good<T: Copy>(step: &HostBuffer<T>, loss: &HostBuffer<T>, is_finite: fn(T) -> bool) -> bool {
    loss.reals().get(step.indices()[0] as usize).is_some_and(|&loss| is_finite(loss))
}

impl Op for BatchNormRunning {
    fn name(&self) -> &'static str {
        "batch_norm.running"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("mean", [self.channels]),
            Operand::read("variance", [self.channels]).without_sign(),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::read("loss", [self.steps]),
            Operand::update("running_mean", [self.channels]),
            Operand::update("running_var", [self.channels]).without_sign(),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [mean, variance, step, loss, running_mean, running_var] = operands.all();
        if !is_good(step, loss, f64::is_finite) {
            return;
        }
        let momentum = f64::from(self.momentum);
        let draw = |running: &mut f64, batch: f64| *running = (1.0 - momentum) * *running + momentum * batch;
        for k in 0..self.channels {
            draw(&mut running_mean.reals_mut()[k], mean.reals()[k]);
            draw(&mut running_var.reals_mut()[k], variance.reals()[k] * self.correction());
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [mean, variance, step, loss, running_mean, running_var] = operands.all();
            if !is_good(step, loss, f32::is_finite) {
                return;
            }
            for (running, batch, factor) in
                [(running_mean, mean, 1.0), (running_var, variance, self.correction() as f32)]
            {
                for (running, batch) in running.reals_mut().iter_mut().zip(batch.reals()) {
                    *running = (1.0 - self.momentum) * *running + self.momentum * (batch * factor);
                }
            }
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("CHANNELS", self.channels.into()),
            ("STEPS", self.steps.into()),
            ("MOMENTUM", self.momentum.into()),
            ("CORRECTION", (self.correction() as f32).into()),
        ];
        let direct = shader!("norm/running.wgsl", "float_bits.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 6, self.channels))]
    }

    fn flops(&self) -> u64 {
        7 * self.channels as u64
    }

    /// The correction is at most two.
    fn precision(&self) -> Precision {
        Precision::approximate(4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_steps_and_steps_past_the_end_leave_the_statistics_as_they_are() {
        let op = BatchNormRunning { rows: 2, channels: 1, momentum: 0.5, steps: 3 };
        for (step, expected) in [(0, [2.0, 4.0]), (1, [3.0, 2.0]), (2, [3.0, 2.0]), (3, [3.0, 2.0])] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![1.0]),
                HostBuffer::real(vec![3.0]),
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, f32::NAN, f32::INFINITY]),
                HostBuffer::real(vec![3.0]),
                HostBuffer::real(vec![2.0]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [.., mean, variance] = operands.all::<6>();
            assert_eq!([mean.reals()[0], variance.reals()[0]], expected, "step {step}");
        }
    }
}
