//! The end of a training step.

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};

/// Counts a training step: `step[0] += 1`, if `loss[step]` is finite.
///
/// The counter thus stays at a step whose loss is not finite, where the host finds it, and past the last step.
///
/// # Shapes
/// loss `[steps]`, step `[1]` (in place).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Number of losses that are kept, one per training step.
    pub steps: usize,
}

impl Op for Advance {
    fn name(&self) -> &'static str {
        "advance"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("loss", [self.steps]), Operand::update("step", [1]).indices(self.steps as u32)]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [loss, step] = operands.all();
        let step = &mut step.indices_mut()[0];
        if loss.reals().get(*step as usize).is_some_and(|loss| loss.is_finite()) {
            *step += 1;
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [loss, step] = operands.all();
            let step = &mut step.indices_mut()[0];
            if loss.reals().get(*step as usize).is_some_and(|loss| loss.is_finite()) {
                *step += 1;
            }
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("batch/advance.wgsl", "float_bits.wgsl", "grid.wgsl");
        let call = KernelCall::elementwise(source, vec![("STEPS", self.steps.into())], 2, 1);
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
    use crate::ops::op::HostBuffer;

    #[test]
    fn steps_stop_at_a_loss_that_is_not_finite_and_at_the_end() {
        let op = Advance { steps: 3 };
        for (step, expected) in [(0, 1), (1, 1), (2, 3), (3, 3)] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![1.0, f32::NAN, 1.0]),
                HostBuffer::index(vec![step]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [_, step] = operands.all();
            assert_eq!(step.indices(), [expected]);
        }
    }
}
