//! The gradient of an activation.

use std::f64::consts::{PI, SQRT_2};

use rayon::prelude::*;

use super::{Activation, CHUNK, Saved, normal_distribution};
use crate::cpu::{exp, vectorized};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Valuewise};
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to an activation's input.
///
/// `grad_input[i] = grad_output[i] * derivative(input[i])`, where the derivative is written in terms of the
/// output `y` if that is what the activation [saves](Activation::saves):
///
/// ```text
/// relu        0 where y <= 0, else 1
/// leaky_relu  slope where y <= 0, else 1
/// elu         y + alpha where y <= 0, else 1
/// sigmoid     y*(1 - y)
/// tanh        1 - y*y
/// gelu        Phi(x) + x*phi(x), with the normal distribution's Phi(x) = (1 + erf(x/sqrt(2)))/2
///             and its density phi(x) = exp(-x*x/2)/sqrt(2*pi)
/// silu        s + x*s*(1 - s), with s = 1/(1 + exp(-x))
/// hard_swish  0 where x <= -3, 1 where x >= 3, else x/3 + 1/2
/// scale       factor
/// ```
///
/// # Shapes
/// output or input, grad_output -> grad_input, all `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationGrad {
    /// The function, [checked](Activation::checked).
    pub activation: Activation,
    /// Number of elements of each tensor.
    pub elements: usize,
}

impl Op for ActivationGrad {
    fn name(&self) -> &'static str {
        "activation.grad"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read(self.activation.saves().name(), [self.elements]),
            Operand::read("grad_output", [self.elements]),
            Operand::write("grad_input", [self.elements]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [saved, grad_output, grad_input] = operands.all();
        let (saved, grad_output, grad_input) = (saved.reals(), grad_output.reals(), grad_input.reals_mut());
        for i in 0..self.elements {
            grad_input[i] = grad_output[i] * self.activation.derivative(saved[i]);
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [saved, grad_output, grad_input] = operands.all();
            let given = grad_output.reals().par_chunks(CHUNK).zip(saved.reals().par_chunks(CHUNK));
            grad_input.reals_mut().par_chunks_mut(CHUNK).zip(given).for_each(
                |(grad_input, (grad_output, saved))| {
                    grad_input.copy_from_slice(grad_output);
                    self.activation.multiply_by_derivative(grad_input, saved);
                },
            );
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut source = match self.activation.saves() {
            Saved::Output => shader!("activation/grad_from_output.wgsl", "grid.wgsl"),
            Saved::Input => shader!("activation/grad_from_input.wgsl", "grid.wgsl"),
        };
        source.files.extend(self.activation.formula().files);
        let mut constants = self.activation.constants();
        constants.push(("ELEMENTS", self.elements.into()));
        vec![Implementation::of(
            "direct",
            KernelCall::elementwise_together(source, constants, 3, self.elements),
        )]
    }

    fn as_prologue(&self) -> Option<Valuewise<Prologue>> {
        Some(Valuewise { function: Prologue::of_any(self.activation), takes: 1, gives: 2 })
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        self.activation.grad_precision()
    }
}

impl Activation {
    /// The derivative from what the activation [saves](Activation::saves), by its definition.
    pub(in crate::ops) fn derivative(&self, saved: f64) -> f64 {
        let (x, y) = (saved, saved);
        match *self {
            Activation::Relu if y <= 0.0 => 0.0,
            Activation::LeakyRelu { slope } if y <= 0.0 => slope.into(),
            Activation::Elu { alpha } if y <= 0.0 => y + f64::from(alpha),
            Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => 1.0,
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
            Activation::Gelu => {
                let share = (1.0 + libm::erf(x / SQRT_2)) / 2.0;
                let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
                share + x * density
            }
            Activation::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                s + x * s * (1.0 - s)
            }
            Activation::HardSwish if x <= -3.0 => 0.0,
            Activation::HardSwish if x >= 3.0 => 1.0,
            Activation::HardSwish => x / 3.0 + 0.5,
            Activation::Scale { factor } => factor.into(),
        }
    }

    /// Multiplies every value of `grad` by the derivative, on the calling thread.
    pub(in crate::ops) fn multiply_by_derivative(&self, grad: &mut [f32], saved: &[f32]) {
        // Separate calls, so that the loops are compiled for each function.
        match *self {
            Activation::Relu => update(grad, saved, |grad, y| if y <= 0.0 { 0.0 } else { grad }),
            Activation::LeakyRelu { slope } => {
                update(grad, saved, |grad, y| if y <= 0.0 { slope * grad } else { grad });
            }
            Activation::Elu { alpha } => {
                update(grad, saved, |grad, y| if y <= 0.0 { (y + alpha) * grad } else { grad });
            }
            Activation::Sigmoid => update(grad, saved, |grad, y| y * (1.0 - y) * grad),
            Activation::Tanh => update(grad, saved, |grad, y| (1.0 - y * y) * grad),
            Activation::Gelu => update(grad, saved, |grad, x| {
                let [share, density] = normal_distribution(x);
                (share + x * (DENSITY_AT_ZERO * density)) * grad
            }),
            Activation::Silu => update(grad, saved, |grad, x| {
                let s = 1.0 / (1.0 + exp(-x));
                (s + x * s * (1.0 - s)) * grad
            }),
            Activation::HardSwish => update(grad, saved, |grad, x| {
                let between = if x >= 3.0 { grad } else { (x / 3.0 + 0.5) * grad };
                if x <= -3.0 { 0.0 } else { between }
            }),
            Activation::Scale { factor } => update(grad, saved, |grad, _| factor * grad),
        }
    }

    /// Precision of a gradient times the derivative, for gradients and saved values in [-1, 1].
    pub(in crate::ops) fn grad_precision(&self) -> Precision {
        match *self {
            Activation::Relu => Precision::EXACT,
            // A single product, but with a slope that is rarely a small integer.
            Activation::LeakyRelu { slope } => Precision::approximate(f64::from(slope).max(1.0)),
            // A sum and a product of a value of at most 1 + alpha.
            Activation::Elu { alpha } => Precision::approximate(1.0 + f64::from(alpha)),
            // Polynomials of the output.
            Activation::Sigmoid | Activation::Tanh => Precision::sum_of_products(2),
            // As in the forward pass, with two more products.
            Activation::Gelu | Activation::Silu => Precision::approximate(6.0),
            Activation::HardSwish => Precision::approximate(2.0),
            Activation::Scale { factor } => Precision::approximate(f64::from(factor).abs().max(1.0)),
        }
    }
}

fn update(grad: &mut [f32], saved: &[f32], function: impl Fn(f32, f32) -> f32) {
    vectorized(|| grad.iter_mut().zip(saved).for_each(|(grad, &saved)| *grad = function(*grad, saved)));
}

/// `1/sqrt(2*pi)`.
const DENSITY_AT_ZERO: f32 = 0.398_942_3;
