//! The scale of a loss, which keeps small gradients above the smallest halves.

use rayon::prelude::*;

use crate::device::DeviceProfile;
use crate::ops::batch::Advance;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Beside, CpuForm, Op, Operand, Operands, Precision};

/// What a buffer of a loss scale holds: the scale, which counts as 1 if it is below; the number of steps since it changed;
/// and the loss of a step that is left out, or -1.
///
/// [`ScaleGradient`] multiplies the gradient of the logits by the scale, and with it all others. [`GradientNorm`] finds out
/// whether they are finite. If so, the update divides by the scale, which is doubled after [`GROWTH_STEPS`] such steps; if
/// not, it is halved, and the step is left out: its loss becomes infinite or NaN until [`RestoreLoss`] has written it back,
/// since nothing changes in a step whose loss is not finite.
///
/// # Source
/// Micikevicius et al. 2018, "Mixed Precision Training"; `torch.amp.GradScaler`.
///
/// [`GradientNorm`]: crate::ops::optimizer::GradientNorm
pub const LOSS_SCALE: &str = "loss_scale";

/// Number of values in a buffer of a loss scale.
pub const LOSS_SCALE_SIZE: usize = 3;

/// The values at first: those of `torch.amp.GradScaler`.
pub const FIRST_LOSS_SCALE: [f32; LOSS_SCALE_SIZE] = [65536.0, 0.0, -1.0];

/// Number of steps after which a scale is doubled.
pub const GROWTH_STEPS: u32 = 2000;

/// The largest scale.
pub const LARGEST_SCALE: f32 = 16_777_216.0;

/// Multiplies the gradient of the logits: `gradient[i] *= max(1, loss_scale[0])`.
///
/// # Shapes
/// gradient `[elements]` (in place), loss_scale `[3]`, as [`LOSS_SCALE`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleGradient {
    /// Number of values.
    pub elements: usize,
}

impl Op for ScaleGradient {
    fn name(&self) -> &'static str {
        "scale_gradient"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::update("gradient", [self.elements]), Operand::read(LOSS_SCALE, [LOSS_SCALE_SIZE])]
    }

    fn takes_halves(&self, _: usize) -> bool {
        false
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [gradient, loss_scale] = operands.all();
        let scale = loss_scale.reals()[0].max(1.0);
        gradient.reals_mut().iter_mut().for_each(|value| *value *= scale);
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [gradient, loss_scale] = operands.all();
            let scale = loss_scale.reals()[0].max(1.0);
            gradient.reals_mut().par_iter_mut().for_each(|value| *value *= scale);
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("loss/scale_gradient.wgsl", "grid.wgsl");
        let constants = vec![("ELEMENTS", self.elements.into())];
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, self.elements))]
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(1)
    }
}

/// Writes the loss of a step that was left out back: if `loss[step]` is not finite and `loss_scale[2]` is at least 0,
/// `loss[step] = loss_scale[2]` and `loss_scale[2] = -1`. With [`RestoreLoss::with_counter`], it also counts the step.
///
/// # Shapes
/// step `[1]`, loss `[steps]` (in place), loss_scale `[3]` (in place), as [`LOSS_SCALE`] says, and if it counts, counter
/// `[1]` (in place).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreLoss {
    steps: usize,
    counts: bool,
}

/// The number of the operand loss of [`RestoreLoss`].
const LOSS: usize = 1;

impl RestoreLoss {
    /// The operation on this number of losses.
    pub fn new(steps: usize) -> Self {
        RestoreLoss { steps, counts: false }
    }

    /// The same, after which the step is counted, as [`Advance`] does, with the operand `counter` after all others.
    pub fn with_counter(self) -> Self {
        RestoreLoss { counts: true, ..self }
    }

    /// The count of steps.
    fn advance(&self) -> Advance {
        Advance { steps: self.steps }
    }

    /// The number of the operand counter, if there is one.
    fn counter(&self) -> Option<usize> {
        self.counts.then_some(3)
    }

    fn run<T: Copy + From<f32> + PartialOrd>(
        &self,
        operands: &mut Operands<T>,
        is_finite: impl Fn(T) -> bool,
    ) {
        let ([step, loss, loss_scale], counter) = operands.split();
        let left_out = &mut loss_scale.reals_mut()[2];
        let now = loss.reals_mut().get_mut(step.indices()[0] as usize);
        if let Some(now) = now.filter(|now| !is_finite(**now) && *left_out >= 0.0.into()) {
            *now = std::mem::replace(left_out, (-1.0).into());
        }
        if let [counter] = counter {
            Advance::count(loss, counter, is_finite);
        }
    }
}

impl Op for RestoreLoss {
    fn name(&self) -> &'static str {
        "restore_loss"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::update("loss", [self.steps]),
            Operand::update(LOSS_SCALE, [LOSS_SCALE_SIZE]),
        ];
        operands.extend(self.counts.then(|| self.advance().counter()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.run(operands, f64::is_finite);
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| self.run(operands, f32::is_finite))
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let source = shader!("loss/restore.wgsl", "float_bits.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(source, vec![("STEPS", self.steps.into())], 3, 1);
        Advance::complete(&mut call, self.counter());
        vec![Implementation::of("direct", call)]
    }

    fn fuse_beside(&self, other: &dyn Op) -> Option<Beside> {
        self.advance().beside(other, LOSS, self.counter(), self.with_counter())
    }

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
    fn a_loss_comes_back_where_one_was_kept() {
        let op = RestoreLoss::new(3);
        for (step, kept, expected) in [
            (0, 2.0, [1.0, f32::INFINITY, 2.0]),
            (1, 0.5, [1.0, 0.5, -1.0]),
            (1, -1.0, [1.0, f32::INFINITY, -1.0]),
            (3, 2.0, [1.0, f32::INFINITY, 2.0]),
        ] {
            let mut operands = Operands::new(vec![
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, f32::INFINITY, 1.0]),
                HostBuffer::real(vec![8.0, 1.0, kept]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let [_, loss, loss_scale] = operands.all();
            let found = [loss.reals()[0], loss.reals()[1], loss_scale.reals()[2]];
            assert_eq!(found, expected, "step {step}, {kept}");
            assert_eq!(loss_scale.reals()[..2], [8.0, 1.0]);
        }
    }
}
