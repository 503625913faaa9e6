//! The running statistics, which outlive a step.

use std::ops::Range;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, HostBuffer, Op, Operand, Operands, Precision};
use crate::ops::span::{Span, side_by_side};

/// Moves running statistics towards those of a batch, if `loss[step]` is finite: all those of a network at once.
///
/// `running[i] = (1 - momentum) * running[i] + momentum * batch[i]`
///
/// A step whose loss is not finite does not change them, nor does a step past the end.
///
/// # Shapes
/// For statistics of `E1`, `E2`, .. values: each running one (in place), then each of the batch; both kinds lie side by
/// side. Then step `[1]`, loss `[steps]`.
///
/// # Source
/// `torch.nn.BatchNorm2d`, whose running variance follows the unbiased one.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStatistics {
    /// Numbers of values of the statistics.
    pub elements: Vec<usize>,
    /// Weight of the batch in the new statistics.
    pub momentum: f32,
    /// Number of losses that are kept, one per training step.
    pub steps: usize,
}

impl RunningStatistics {
    /// Calls `work` with the values of each statistic and those of the batch, if the step is within the run and its loss
    /// finite.
    fn update<T: Copy>(
        &self,
        operands: &mut Operands<T>,
        is_finite: impl Fn(T) -> bool,
        work: impl Fn(&mut [T], &[T]),
    ) {
        let (running, others) = operands.as_mut_slice().split_at_mut(self.elements.len());
        let (batch, others) = others.split_at(self.elements.len());
        let [step, loss] = others else { unreachable!("two operands after the statistics") };
        let loss = loss.reals().get(step.indices()[0] as usize);
        if loss.is_some_and(|&loss| is_finite(loss)) {
            let pairs =
                running.iter_mut().map(HostBuffer::reals_mut).zip(batch.iter().map(HostBuffer::reals));
            pairs.for_each(|(running, batch)| work(running, batch));
        }
    }

    /// The launch that updates the statistics of one span.
    fn call(&self, span: &Span) -> KernelCall {
        let all = self.elements.len();
        let of_kind = |kind: usize| Binding::Span {
            first: kind * all + span.tensors.start,
            last: kind * all + span.tensors.end - 1,
        };
        let constants = vec![
            ("ELEMENTS", span.elements.into()),
            ("STEPS", self.steps.into()),
            ("MOMENTUM", self.momentum.into()),
        ];
        let source = shader!("norm/running.wgsl", "float_bits.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(source, constants, 0, span.elements);
        let [step, loss] = [0, 1].map(|number| Binding::Operand(2 * all + number));
        call.bindings = vec![of_kind(0), of_kind(1), step, loss];
        call
    }
}

impl Op for RunningStatistics {
    fn name(&self) -> &'static str {
        "batch_norm.running"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands: Vec<Operand> = Vec::new();
        operands.extend(self.elements.iter().map(|&elements| Operand::update("running", [elements])));
        operands.extend(self.elements.iter().map(|&elements| Operand::read("batch", [elements])));
        operands.push(Operand::read("step", [1]).indices(self.steps as u32));
        operands.push(Operand::read("loss", [self.steps]));
        operands
    }

    fn side_by_side(&self) -> Vec<Range<usize>> {
        let all = self.elements.len();
        vec![0..all, all..2 * all]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let momentum = f64::from(self.momentum);
        self.update(operands, f64::is_finite, |running, batch| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - momentum) * *running + momentum * batch;
            }
        });
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            self.update(operands, f32::is_finite, |running, batch| {
                for (running, batch) in running.iter_mut().zip(batch) {
                    *running = (1.0 - self.momentum) * *running + self.momentum * batch;
                }
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let spans = side_by_side(&self.elements, device.largest_buffer());
        let calls = spans.iter().map(|span| self.call(span)).collect();
        vec![Implementation::of_calls("direct", calls, Vec::new())]
    }

    fn flops(&self) -> u64 {
        3 * self.elements.iter().sum::<usize>() as u64
    }

    fn precision(&self) -> Precision {
        Precision::approximate(4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_steps_and_steps_past_the_end_leave_the_statistics_as_they_are() {
        let op = RunningStatistics { elements: vec![1, 1], momentum: 0.5, steps: 3 };
        for (step, expected) in [(0, [2.0, 4.0]), (1, [3.0, 2.0]), (2, [3.0, 2.0]), (3, [3.0, 2.0])] {
            let real = |value: f32| HostBuffer::real(vec![value]);
            let mut operands = Operands::new(vec![
                real(3.0),
                real(2.0),
                real(1.0),
                real(6.0),
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, f32::NAN, f32::INFINITY]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [mean, variance, ..] = operands.all::<6>();
            assert_eq!([mean.reals()[0], variance.reals()[0]], expected, "step {step}");
        }
    }
}
