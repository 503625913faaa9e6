//! Averages of parameters that a training changes by other means than gradients.

use std::ops::{Add, Mul, Range, Sub};

use super::rule::Now;
use super::update::now;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, WORKGROUP_SIZE, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};
use crate::ops::span::side_by_side;

/// The name of the operands that are averages.
pub const AVERAGE: &str = "average";

/// Number of values that an invocation averages.
pub(super) const QUAD: usize = 4;

/// Moves the average of each parameter towards it, and in some steps the parameters to their averages, as
/// [`Update`](super::Update) does with those that an optimizer changes: for statistics, which layers change themselves.
///
/// ```text
/// average += share * (parameter - average)
/// parameter = average                      in steps whose row says so
/// ```
///
/// A step whose loss is not finite changes nothing, nor does a step past the end.
///
/// # Shapes
/// For parameters of `E1`, `E2`, .. values: each parameter (in place), then each average (in place); the tensors of each kind lie
/// side by side. Then schedule `[steps,8]` of [`Now::row`], step `[1]`, loss `[steps]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    /// Number of values of each tensor.
    pub elements: Vec<usize>,
    /// Number of rows of the schedule.
    pub steps: usize,
}

/// f32 and f64.
pub(super) trait Real:
    Copy + From<f32> + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
}

impl Real for f32 {}
impl Real for f64 {}

/// An average and its value after a step.
pub(super) fn averaged<T: Real>(now: &Now<T>, average: T, value: T) -> [T; 2] {
    let average = average + now.share * (value - average);
    [average, if now.returns > 0.5.into() { average } else { value }]
}

impl Average {
    fn run<T: Real>(&self, operands: &mut Operands<T>, is_finite: impl Fn(T) -> bool) {
        let (tensors, others) = operands.as_mut_slice().split_at_mut(2 * self.elements.len());
        let Some(now) = now(others, is_finite) else { return };
        let (values, averages) = tensors.split_at_mut(self.elements.len());
        for (values, averages) in values.iter_mut().zip(averages) {
            for (value, average) in values.reals_mut().iter_mut().zip(averages.reals_mut()) {
                [*average, *value] = averaged(&now, *average, *value);
            }
        }
    }
}

impl Op for Average {
    fn name(&self) -> &'static str {
        AVERAGE
    }

    fn operands(&self) -> Vec<Operand> {
        let of_each = |name| self.elements.iter().map(move |&elements| Operand::update(name, [elements]));
        let mut operands: Vec<Operand> = of_each("parameter").chain(of_each(AVERAGE)).collect();
        operands.extend([
            Operand::read("schedule", [self.steps, Now::<f32>::SIZE]).without_sign(),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::read("loss", [self.steps]),
        ]);
        operands
    }

    fn side_by_side(&self) -> Vec<Range<usize>> {
        let all = self.elements.len();
        vec![0..all, all..2 * all]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.run(operands, f64::is_finite);
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| self.run(operands, f32::is_finite))
    }

    /// One launch per span that the device can bind.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let all = self.elements.len();
        let spans = side_by_side(&self.elements, device.largest_buffer());
        let calls = spans.iter().map(|span| {
            let of_kind = |kind: usize| Binding::Span {
                first: kind * all + span.tensors.start,
                last: kind * all + span.tensors.end - 1,
            };
            let single = |number: usize| Binding::Operand(2 * all + number);
            let quads = span.elements / QUAD;
            apart(quads, self.steps, [of_kind(0), single(0), single(1), single(2), of_kind(1)])
        });
        vec![Implementation::of_calls("side_by_side", calls.collect(), Vec::new())]
    }

    fn flops(&self) -> u64 {
        3 * self.elements.iter().sum::<usize>() as u64
    }

    fn precision(&self) -> Precision {
        Precision { summed: 2, exact_on_integers: true, term_error: 1.0 }
    }
}

/// The launch that averages values alone; binds the values, the schedule, the step, the loss, and the averages.
pub(super) fn apart(quads: usize, steps: usize, bindings: [Binding; 5]) -> KernelCall {
    let mut source =
        shader!("optimizer/average_apart.wgsl", "optimizer/average.wgsl", "float_bits.wgsl", "grid.wgsl");
    source.sizes.push(("AVERAGE_BINDING", 4));
    let constants = vec![("QUADS", quads.into()), ("STEPS", steps.into())];
    KernelCall::new(source, constants, bindings.to_vec(), quads.div_ceil(WORKGROUP_SIZE as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    #[test]
    fn bad_steps_and_steps_past_the_end_change_nothing() {
        let op = Average { elements: vec![1], steps: 3 };
        let row = |share, returns| {
            Now { learning_rate: 0.0, momentum: 0.0, corrections: [1.0; 2], at_first: 1.0, share, returns }
                .row()
        };
        for (step, expected) in [(0, [4.0, 3.0]), (1, [3.0, 3.0]), (2, [4.0, 2.0]), (3, [4.0, 2.0])] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![4.0]),
                HostBuffer::real(vec![2.0]),
                HostBuffer::real([row(0.5, 0.0), row(0.5, 1.0), row(0.5, 1.0)].concat()),
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, 1.0, f32::NAN]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [value, average, ..] = operands.all::<5>();
            assert_eq!([value.reals()[0], average.reals()[0]], expected, "step {step}");
        }
    }
}
