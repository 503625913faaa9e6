//! The end of a training step.

use std::any::Any;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Beside, CpuForm, HostBuffer, Op, Operand, Operands, Precision};

/// Counts a training step: `counter += 1`, if `loss[counter]` is finite.
///
/// The counter thus stays at a step whose loss is not finite, where the host finds it, and past the last step. The last
/// operation of a step that writes the loss can count too: on a GPU it is a single invocation that does, and no other operation
/// of the step binds the counter, as [`GatherBatch`](super::GatherBatch) has copied it.
///
/// # Shapes
/// loss `[steps]`, counter `[1]` (in place).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Number of losses that are kept, one per training step.
    pub steps: usize,
}

impl Advance {
    /// The operand counter.
    pub(in crate::ops) fn counter(&self) -> Operand {
        Operand::update("counter", [1]).indices(self.steps as u32)
    }

    /// Counts the step.
    pub(in crate::ops) fn count<T: Copy>(
        loss: &HostBuffer<T>,
        counter: &mut HostBuffer<T>,
        is_finite: impl Fn(T) -> bool,
    ) {
        let counter = &mut counter.indices_mut()[0];
        if loss.reals().get(*counter as usize).is_some_and(|&loss| is_finite(loss)) {
            *counter += 1;
        }
    }

    /// Adds `count_step` to a kernel that calls it once it has written the loss: with an operand of this number for the counter,
    /// or, without one, in order to count nothing.
    pub(in crate::ops) fn complete(call: &mut KernelCall, counter: Option<usize>) {
        let [with, without] = [shader!("batch/count.wgsl"), shader!("batch/no_count.wgsl")];
        call.complete(counter, "COUNTER_BINDING", with, without);
    }

    /// If `other` is this count, what becomes of an operation that writes the operand `loss` of this number, and then counts too,
    /// as `both`; nothing if it does so already, with a `counter`.
    pub(in crate::ops) fn beside(
        &self,
        other: &dyn Op,
        loss: usize,
        counter: Option<usize>,
        both: impl Op,
    ) -> Option<Beside> {
        let is_this = (other as &dyn Any).downcast_ref() == Some(self);
        let fits = is_this && counter.is_none();
        // The other's operands are loss and counter.
        fits.then(|| Beside { op: Box::new(both), same: vec![[loss, 0]], further: vec![1] })
    }
}

impl Op for Advance {
    fn name(&self) -> &'static str {
        "advance"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("loss", [self.steps]), self.counter()]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [loss, counter] = operands.all();
        Advance::count(loss, counter, f64::is_finite);
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [loss, counter] = operands.all();
            Advance::count(loss, counter, f32::is_finite);
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("batch/advance.wgsl", "float_bits.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(source, vec![("STEPS", self.steps.into())], 1, 1);
        Advance::complete(&mut call, Some(1));
        vec![Implementation::of("direct", call)]
    }

    /// None: counting is not floating-point arithmetic.
    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stop_at_a_loss_that_is_not_finite_and_at_the_end() {
        let op = Advance { steps: 3 };
        for (counted, expected) in [(0, 1), (1, 1), (2, 3), (3, 3)] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![1.0, f32::NAN, 1.0]),
                HostBuffer::index(vec![counted]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [_, counter] = operands.all();
            assert_eq!(counter.indices(), [expected]);
        }
    }
}
