//! Stochastic gradient descent.

use rayon::prelude::*;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{HostBuffer, Op, Operand, Operands, Precision};
use crate::{Error, Result};

/// Settings of [`Sgd`]; all zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdOptions {
    /// Share of the velocity that is kept from step to step; 0 for no velocity at all.
    pub momentum: f32,
    /// Whether the step looks ahead along the velocity.
    pub nesterov: bool,
    /// Share of the parameter that is added to its gradient.
    pub weight_decay: f32,
}

/// One step of stochastic gradient descent on one parameter tensor.
///
/// ```text
/// g = gradient + weight_decay * parameter
/// velocity = momentum * velocity + g
/// parameter -= learning_rate[step] * (g + momentum * velocity    with nesterov,
///                                     velocity                   with momentum alone,
///                                     g                          without momentum)
/// ```
///
/// If `loss[step]` is not finite nothing changes, so that training stops with its weights intact; a step
/// past the end changes nothing either.
///
/// # Shapes
/// parameter `[E]` (in place), gradient `[E]`, learning_rate `[steps]`, step `[1]`, loss `[steps]`, and with
/// momentum velocity `[E]` (in place, zero at first).
///
/// # Source
/// `torch.optim.SGD`, with dampening 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    elements: usize,
    steps: usize,
    options: SgdOptions,
}

impl Sgd {
    /// Checks the settings for a parameter of `elements` values, in a run of at most `steps` steps.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a momentum outside [0, 1), a weight decay that is negative or not finite, and
    /// nesterov without momentum.
    pub fn new(elements: usize, steps: usize, options: SgdOptions) -> Result<Self> {
        const OPERATION: &str = "sgd";
        let SgdOptions { momentum, nesterov, weight_decay } = options;
        if !(0.0..1.0).contains(&momentum) {
            return Err(Error::invalid(OPERATION, "momentum from 0 to below 1", momentum));
        }
        if !(0.0..f32::INFINITY).contains(&weight_decay) {
            return Err(Error::invalid(OPERATION, "a finite weight_decay of at least 0", weight_decay));
        }
        if nesterov && momentum == 0.0 {
            return Err(Error::invalid(OPERATION, "momentum above 0 for nesterov", momentum));
        }
        Ok(Sgd { elements, steps, options })
    }

    fn has_velocity(&self) -> bool {
        self.options.momentum > 0.0
    }

    /// The learning rate of this step; none if the step must change nothing.
    fn rate<T: Copy>(
        &self,
        learning_rate: &HostBuffer<T>,
        step: &HostBuffer<T>,
        loss: &HostBuffer<T>,
        is_finite: impl Fn(T) -> bool,
    ) -> Option<T> {
        let step = step.indices()[0] as usize;
        (step < self.steps && is_finite(loss.reals()[step])).then(|| learning_rate.reals()[step])
    }
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::update("parameter", [self.elements]),
            Operand::read("gradient", [self.elements]),
            Operand::read("learning_rate", [self.steps]),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::read("loss", [self.steps]),
        ];
        if self.has_velocity() {
            operands.push(Operand::update("velocity", [self.elements]));
        }
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [momentum, weight_decay] = [self.options.momentum, self.options.weight_decay].map(f64::from);
        if self.has_velocity() {
            let [parameter, gradient, learning_rate, step, loss, velocity] = operands.all();
            let Some(rate) = self.rate(learning_rate, step, loss, f64::is_finite) else { return };
            let (parameter, velocity) = (parameter.reals_mut(), velocity.reals_mut());
            for i in 0..self.elements {
                let g = gradient.reals()[i] + weight_decay * parameter[i];
                velocity[i] = momentum * velocity[i] + g;
                let direction = if self.options.nesterov { g + momentum * velocity[i] } else { velocity[i] };
                parameter[i] -= rate * direction;
            }
        } else {
            let [parameter, gradient, learning_rate, step, loss] = operands.all();
            let Some(rate) = self.rate(learning_rate, step, loss, f64::is_finite) else { return };
            for (parameter, gradient) in parameter.reals_mut().iter_mut().zip(gradient.reals()) {
                *parameter -= rate * (gradient + weight_decay * *parameter);
            }
        }
    }

    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        const CHUNK: usize = 4096;
        let SgdOptions { momentum, nesterov, weight_decay } = self.options;
        if self.has_velocity() {
            let [parameter, gradient, learning_rate, step, loss, velocity] = operands.all();
            let Some(rate) = self.rate(learning_rate, step, loss, f32::is_finite) else { return };
            let sources = velocity.reals_mut().par_chunks_mut(CHUNK).zip(gradient.reals().par_chunks(CHUNK));
            let chunks = parameter.reals_mut().par_chunks_mut(CHUNK).zip(sources);
            chunks.for_each(|(parameter, (velocity, gradient))| {
                for ((parameter, velocity), gradient) in parameter.iter_mut().zip(velocity).zip(gradient) {
                    let g = gradient + weight_decay * *parameter;
                    *velocity = momentum * *velocity + g;
                    let direction = if nesterov { g + momentum * *velocity } else { *velocity };
                    *parameter -= rate * direction;
                }
            });
        } else {
            let [parameter, gradient, learning_rate, step, loss] = operands.all();
            let Some(rate) = self.rate(learning_rate, step, loss, f32::is_finite) else { return };
            let chunks = parameter.reals_mut().par_chunks_mut(CHUNK).zip(gradient.reals().par_chunks(CHUNK));
            chunks.for_each(|(parameter, gradient)| {
                for (parameter, gradient) in parameter.iter_mut().zip(gradient) {
                    *parameter -= rate * (gradient + weight_decay * *parameter);
                }
            });
        }
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let SgdOptions { momentum, nesterov, weight_decay } = self.options;
        let mut constants = vec![
            ("ELEMENTS", self.elements.into()),
            ("STEPS", self.steps.into()),
            ("WEIGHT_DECAY", weight_decay.into()),
        ];
        let source = if self.has_velocity() {
            constants.extend([("MOMENTUM", momentum.into()), ("NESTEROV", nesterov.into())]);
            shader!("optimizer/sgd_momentum.wgsl", "float_bits.wgsl", "grid.wgsl")
        } else {
            shader!("optimizer/sgd.wgsl", "float_bits.wgsl", "grid.wgsl")
        };
        let operands = self.operands().len();
        let call = KernelCall::elementwise(source, constants, operands, self.elements);
        vec![Implementation::of("elementwise", call)]
    }

    /// A fused multiply-add for each product of the formula.
    fn flops(&self) -> u64 {
        let products = 2 + u64::from(self.has_velocity()) + u64::from(self.options.nesterov);
        2 * products * self.elements as u64
    }

    /// Exact where momentum and weight decay are sixteenths: their products with small integers are short.
    fn precision(&self) -> Precision {
        let is_short = |value: f32| (value * 16.0).fract() == 0.0;
        let exact_on_integers = is_short(self.options.momentum) && is_short(self.options.weight_decay);
        Precision { exact_on_integers, ..Precision::sum_of_products(4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SgdOptions = SgdOptions { momentum: 0.5, nesterov: true, weight_decay: 0.25 };

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(Sgd::new(1, 1, OPTIONS).is_ok());
        assert!(Sgd::new(1, 1, SgdOptions::default()).is_ok());
        for momentum in [-0.1, 0.0, 1.0, f32::NAN] {
            assert!(Sgd::new(1, 1, SgdOptions { momentum, ..OPTIONS }).is_err(), "{momentum}");
        }
        for weight_decay in [-0.1, f32::INFINITY, f32::NAN] {
            assert!(Sgd::new(1, 1, SgdOptions { weight_decay, ..OPTIONS }).is_err(), "{weight_decay}");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_changes_nothing() {
        let op = Sgd::new(1, 2, OPTIONS).unwrap();
        // g = 3 + 2/4 = 3.5, velocity = 4/2 + 3.5 = 5.5, parameter = 2 - 0.5 * (3.5 + 5.5/2)
        let changed = (-1.125, 5.5);
        for (step, loss, expected) in [
            (1, 1.0, changed),
            (1, f32::NAN, (2.0, 4.0)),
            (1, f32::INFINITY, (2.0, 4.0)),
            (2, 1.0, (2.0, 4.0)),
        ] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![2.0f32]),
                HostBuffer::real(vec![3.0]),
                HostBuffer::real(vec![9.0, 0.5]),
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, loss]),
                HostBuffer::real(vec![4.0]),
            ]);
            op.run_on_cpu(&mut operands);
            let [parameter, .., velocity] = operands.all::<6>();
            assert_eq!((parameter.reals()[0], velocity.reals()[0]), expected, "step {step}, loss {loss}");
        }
    }
}
