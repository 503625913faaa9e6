//! Applying an activation.

use std::f32::consts::FRAC_1_SQRT_2;
use std::f64::consts::SQRT_2;

use super::Activation;
use crate::cpu::map;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// Applies an activation to every element.
///
/// `output[i] = activation(input[i])`; see [`Activation`].
///
/// # Shapes
/// input -> output, both `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationForward {
    /// The function, [checked](Activation::checked).
    pub activation: Activation,
    /// Elements of each tensor.
    pub elements: usize,
}

impl Op for ActivationForward {
    fn name(&self) -> &'static str {
        "activation.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("output", [self.elements])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, output] = operands.all();
        for (output, &x) in output.reals_mut().iter_mut().zip(input.reals()) {
            *output = match self.activation {
                Activation::Relu if x <= 0.0 => 0.0,
                Activation::LeakyRelu { slope } if x <= 0.0 => f64::from(slope) * x,
                Activation::Elu { alpha } if x <= 0.0 => f64::from(alpha) * (x.exp() - 1.0),
                Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => x,
                Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Activation::Tanh => x.tanh(),
                Activation::Gelu => x / 2.0 * (1.0 + libm::erf(x / SQRT_2)),
                Activation::Silu => x / (1.0 + (-x).exp()),
            };
        }
    }

    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let [input, output] = operands.all();
        let (input, output) = (input.reals(), output.reals_mut());
        // A call for each, so that the loops are compiled for each function on its own.
        match self.activation {
            Activation::Relu => map(output, input, |x| if x <= 0.0 { 0.0 } else { x }),
            Activation::LeakyRelu { slope } => map(output, input, |x| if x <= 0.0 { slope * x } else { x }),
            Activation::Elu { alpha } => {
                map(output, input, |x| if x <= 0.0 { alpha * x.exp_m1() } else { x });
            }
            Activation::Sigmoid => map(output, input, |x| 1.0 / (1.0 + (-x).exp())),
            Activation::Tanh => map(output, input, f32::tanh),
            Activation::Gelu => map(output, input, |x| 0.5 * x * libm::erfcf(-x * FRAC_1_SQRT_2)),
            Activation::Silu => map(output, input, |x| x / (1.0 + (-x).exp())),
        }
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut source = shader!("activation/forward.wgsl", "grid.wgsl");
        source.files.extend(self.activation.formula().files);
        let constants = self.activation.constants(self.elements);
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, self.elements))]
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        match self.activation {
            Activation::Relu => Precision::EXACT,
            // One product, but by a slope that is seldom a small integer.
            Activation::LeakyRelu { slope } => Precision::approximate(f64::from(slope).max(1.0)),
            // WGSL allows `exp` an error of 3 + 2*|x| units in the last place.
            Activation::Elu { alpha } => Precision::approximate(4.0 * f64::from(alpha).max(1.0)),
            Activation::Sigmoid | Activation::Tanh | Activation::Silu => Precision::approximate(4.0),
            // The kernel's fit of the normal distribution is off by 7.5e-8 besides.
            Activation::Gelu => Precision::approximate(4.0),
        }
    }
}
