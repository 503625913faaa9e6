//! Applying an activation.

use std::f64::consts::SQRT_2;

use rayon::prelude::*;

use super::{Activation, CHUNK, normal_distribution};
use crate::cpu::{exp, vectorized};
use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Valuewise};

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
    /// Number of elements of each tensor.
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
            *output = self.activation.value(x);
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, output] = operands.all();
            let inputs = input.reals().par_chunks(CHUNK);
            output.reals_mut().par_chunks_mut(CHUNK).zip(inputs).for_each(|(output, input)| {
                output.copy_from_slice(input);
                self.activation.apply(output);
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut source = shader!("activation/forward.wgsl", "grid.wgsl");
        source.files.extend(self.activation.formula().files);
        let mut constants = self.activation.constants();
        constants.push(("ELEMENTS", self.elements.into()));
        vec![Implementation::of(
            "direct",
            KernelCall::elementwise_together(source, constants, 2, self.elements),
        )]
    }

    fn as_epilogue(&self, operand: usize) -> Option<Valuewise<Epilogue>> {
        let function = Epilogue { activation: Some(self.activation), ..Epilogue::NONE };
        (operand == 0).then_some(Valuewise { function, takes: 0, gives: 1 })
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        self.activation.precision()
    }
}

impl Activation {
    /// The function at `x`, from its definition.
    pub(in crate::ops) fn value(&self, x: f64) -> f64 {
        match *self {
            Activation::Relu if x <= 0.0 => 0.0,
            Activation::LeakyRelu { slope } if x <= 0.0 => f64::from(slope) * x,
            Activation::Elu { alpha } if x <= 0.0 => f64::from(alpha) * (x.exp() - 1.0),
            Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => x,
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Gelu => x / 2.0 * (1.0 + libm::erf(x / SQRT_2)),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::HardSwish if x <= -3.0 => 0.0,
            Activation::HardSwish if x >= 3.0 => x,
            Activation::HardSwish => x * (x + 3.0) / 6.0,
            Activation::Scale { factor } => f64::from(factor) * x,
        }
    }

    /// Applies the function to every value in place, on the calling thread.
    pub(in crate::ops) fn apply(&self, values: &mut [f32]) {
        // Separate calls, so that the loops are compiled for each function.
        match *self {
            Activation::Relu => map(values, |x| if x <= 0.0 { 0.0 } else { x }),
            Activation::LeakyRelu { slope } => map(values, |x| if x <= 0.0 { slope * x } else { x }),
            Activation::Elu { alpha } => map(values, |x| if x <= 0.0 { alpha * x.exp_m1() } else { x }),
            Activation::Sigmoid => map(values, |x| 1.0 / (1.0 + exp(-x))),
            Activation::Tanh => map(values, f32::tanh),
            Activation::Gelu => map(values, |x| x * normal_distribution(x)[0]),
            Activation::Silu => map(values, |x| x / (1.0 + exp(-x))),
            Activation::HardSwish => map(values, |x| {
                let between = if x >= 3.0 { x } else { x * (x + 3.0) / 6.0 };
                if x <= -3.0 { 0.0 } else { between }
            }),
            Activation::Scale { factor } => map(values, |x| factor * x),
        }
    }

    /// Precision of the function at inputs in [-1, 1].
    pub(in crate::ops) fn precision(&self) -> Precision {
        match *self {
            Activation::Relu => Precision::EXACT,
            // A single product, but with a slope that is rarely a small integer.
            Activation::LeakyRelu { slope } => Precision::approximate(f64::from(slope).max(1.0)),
            // WGSL allows `exp` an error of 3 + 2*|x| units in the last place.
            Activation::Elu { alpha } => Precision::approximate(4.0 * f64::from(alpha).max(1.0)),
            Activation::Sigmoid | Activation::Tanh | Activation::Silu => Precision::approximate(4.0),
            // In addition, the approximation of the normal distribution is off by 7.5e-8.
            Activation::Gelu => Precision::approximate(4.0),
            Activation::HardSwish => Precision::approximate(1.0),
            Activation::Scale { factor } => Precision::approximate(f64::from(factor).abs().max(1.0)),
        }
    }

    /// The largest absolute value of the derivative, which bounds how much of an input's error reaches the output.
    pub(in crate::ops) fn steepest(&self) -> f64 {
        match *self {
            Activation::Relu | Activation::Tanh => 1.0,
            Activation::LeakyRelu { slope: parameter } | Activation::Elu { alpha: parameter } => {
                f64::from(parameter).max(1.0)
            }
            Activation::Sigmoid => 0.25,
            // At x = sqrt(2).
            Activation::Gelu => 1.13,
            // At x = 2.4.
            Activation::Silu => 1.10,
            // Just below x = 3.
            Activation::HardSwish => 1.5,
            Activation::Scale { factor } => f64::from(factor).abs(),
        }
    }
}

fn map(values: &mut [f32], function: impl Fn(f32) -> f32) {
    vectorized(|| values.iter_mut().for_each(|value| *value = function(*value)));
}
