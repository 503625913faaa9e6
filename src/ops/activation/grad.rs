//! The gradient of an activation.

use std::f32::consts::FRAC_1_SQRT_2;
use std::f64::consts::{PI, SQRT_2};

use super::{Activation, Saved};
use crate::cpu::zip_map;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

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
/// ```
///
/// # Shapes
/// output or input, grad_output -> grad_input, all `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationGrad {
    /// The function, [checked](Activation::checked).
    pub activation: Activation,
    /// Elements of each tensor.
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
            let (x, y) = (saved[i], saved[i]);
            let derivative = match self.activation {
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
            };
            grad_input[i] = grad_output[i] * derivative;
        }
    }

    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let [saved, grad_output, grad_input] = operands.all();
        let (saved, grad, grad_input) = (saved.reals(), grad_output.reals(), grad_input.reals_mut());
        // A call for each, so that the loops are compiled for each function on its own.
        match self.activation {
            Activation::Relu => zip_map(grad_input, saved, grad, |y, grad| if y <= 0.0 { 0.0 } else { grad }),
            Activation::LeakyRelu { slope } => {
                zip_map(grad_input, saved, grad, |y, grad| if y <= 0.0 { slope * grad } else { grad });
            }
            Activation::Elu { alpha } => {
                zip_map(grad_input, saved, grad, |y, grad| if y <= 0.0 { (y + alpha) * grad } else { grad });
            }
            Activation::Sigmoid => zip_map(grad_input, saved, grad, |y, grad| y * (1.0 - y) * grad),
            Activation::Tanh => zip_map(grad_input, saved, grad, |y, grad| (1.0 - y * y) * grad),
            Activation::Gelu => zip_map(grad_input, saved, grad, |x, grad| {
                let share = 0.5 * libm::erfcf(-x * FRAC_1_SQRT_2);
                let density = DENSITY_AT_ZERO * (-0.5 * x * x).exp();
                (share + x * density) * grad
            }),
            Activation::Silu => zip_map(grad_input, saved, grad, |x, grad| {
                let s = 1.0 / (1.0 + (-x).exp());
                (s + x * s * (1.0 - s)) * grad
            }),
        }
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut source = match self.activation.saves() {
            Saved::Output => shader!("activation/grad_from_output.wgsl", "grid.wgsl"),
            Saved::Input => shader!("activation/grad_from_input.wgsl", "grid.wgsl"),
        };
        source.files.extend(self.activation.formula().files);
        let constants = self.activation.constants(self.elements);
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 3, self.elements))]
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        match self.activation {
            Activation::Relu => Precision::EXACT,
            // One product, but by a slope that is seldom a small integer.
            Activation::LeakyRelu { slope } => Precision::approximate(f64::from(slope).max(1.0)),
            // A sum and a product, of a value up to 1 + alpha.
            Activation::Elu { alpha } => Precision::approximate(1.0 + f64::from(alpha)),
            // Polynomials of the output.
            Activation::Sigmoid | Activation::Tanh => Precision::sum_of_products(2),
            // As in the forward pass, and two more products.
            Activation::Gelu | Activation::Silu => Precision::approximate(6.0),
        }
    }
}

/// `1/sqrt(2*pi)`.
const DENSITY_AT_ZERO: f32 = 0.398_942_3;
