//! Functions applied to a gradient as a pass reads it.

use std::borrow::Cow;
use std::ops::Range;

use crate::cpu::with_scratch;
use crate::ops::activation::{Activation, Saved};
use crate::ops::kernel::{Binding, KernelCall, Source, shader};
use crate::ops::op::{HostBuffer, Operand, Precision};
use crate::tensor::Shape;

/// An activation's derivative, by which each value of `grad_output` is multiplied as it is read:
/// `grad_output[i] * derivative(activated[i])`, where `activated` is what the activation [saves](Activation::saves): its
/// output, or its input.
///
/// The gradient of the activation's input is then never stored in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prologue {
    activation: Option<Activation>,
}

impl Prologue {
    /// Gradients are used unchanged.
    pub const NONE: Prologue = Prologue { activation: None };

    /// Multiplies by the derivative of `activation`; `None` if that needs more than the activation's output.
    pub fn of(activation: Activation) -> Option<Self> {
        Prologue::of_any(activation).of_output()
    }

    /// Multiplies by the derivative of `activation`.
    pub fn of_any(activation: Activation) -> Self {
        Prologue { activation: Some(activation) }
    }

    /// The same prologue if the derivative is computed from the activation's output: that takes a few operations, which a
    /// pass can afford every time it reads a value. From an input it takes an exponential or more.
    pub fn of_output(self) -> Option<Self> {
        let is_of_output = self.activation.is_none_or(|activation| activation.saves() == Saved::Output);
        is_of_output.then_some(self)
    }

    /// The activation whose derivative it is.
    pub fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// The operand that it reads, which comes after those of the operation itself; its shape is that of
    /// `grad_output`.
    pub fn operand(&self, shape: impl Into<Shape>) -> Option<Operand> {
        self.activation.map(|_| Operand::read("activated", shape))
    }

    /// The gradient as the definition uses it; `operands` are those that come after the operation's own.
    pub(in crate::ops) fn define<'a>(
        &self,
        grad_output: &'a [f64],
        operands: &[HostBuffer<f64>],
    ) -> Cow<'a, [f64]> {
        let Some(activation) = self.activation else { return Cow::Borrowed(grad_output) };
        let activated = operands[0].reals();
        grad_output.iter().zip(activated).map(|(grad, &y)| grad * activation.derivative(y)).collect()
    }

    /// One value of the gradient of [`Self::define`]: `grad_output` and `activated` are the values in memory.
    pub(in crate::ops) fn define_at(&self, grad_output: f64, activated: impl FnOnce() -> f64) -> f64 {
        self.activation.map_or(grad_output, |activation| grad_output * activation.derivative(activated()))
    }

    /// Calls `work` with a `part` of the gradient as the pass uses it. With a derivative, the product is in scratch
    /// memory, so that a part should fit the cache.
    pub(in crate::ops) fn run_on_cpu(
        &self,
        grad_output: &[f32],
        part: Range<usize>,
        operands: &[HostBuffer<f32>],
        work: impl FnOnce(&[f32]),
    ) {
        let grad_output = &grad_output[part.clone()];
        let Some(activation) = self.activation else { return work(grad_output) };
        with_scratch(grad_output.len(), |product| {
            product.copy_from_slice(grad_output);
            activation.multiply_by_derivative(product, &operands[0].reals()[part]);
            work(product);
        });
    }

    /// Writes a `part` of the gradient as the pass uses it `into` memory that is in a cache.
    pub(in crate::ops) fn copy_on_cpu(
        &self,
        grad_output: &[f32],
        part: Range<usize>,
        operands: &[HostBuffer<f32>],
        into: &mut [f32],
    ) {
        into.copy_from_slice(&grad_output[part.clone()]);
        if let Some(activation) = self.activation {
            activation.multiply_by_derivative(into, &operands[0].reals()[part]);
        }
    }

    /// Adds the function `grad_output_at` to a kernel that reads one value at a time, and the binding of the
    /// activation's output: `operand` is its number among the operands of the operation.
    pub(in crate::ops) fn complete(&self, call: &mut KernelCall, operand: usize) {
        let plain = shader!("prologue/plain.wgsl");
        self.append(call, operand, plain, shader!("prologue/activation.wgsl"));
    }

    /// As [`Self::complete`], with the functions `a_factor` and `a_finished`, for a matrix product whose `a` is
    /// `grad_output`.
    pub(in crate::ops) fn complete_product(&self, call: &mut KernelCall, operand: usize) {
        let plain = shader!("prologue/plain_product.wgsl");
        self.append(call, operand, plain, shader!("prologue/activation_product.wgsl"));
    }

    /// As [`Self::complete`], with the function `grad_output_packet`, for a kernel that reads packets of four values or
    /// one.
    pub(in crate::ops) fn complete_packets(&self, call: &mut KernelCall, operand: usize, quads: bool) {
        let mut times_derivative = shader!("prologue/activation_packet.wgsl");
        times_derivative.files.extend(match quads {
            true => shader!("prologue/derivative_quads.wgsl").files,
            false => shader!("prologue/derivative_scalars.wgsl").files,
        });
        self.append(call, operand, shader!("prologue/plain_packet.wgsl"), times_derivative);
    }

    fn append(&self, call: &mut KernelCall, operand: usize, plain: Source, times_derivative: Source) {
        let Some(activation) = self.activation else {
            call.source.files.extend(plain.files);
            return;
        };
        call.source.files.extend(times_derivative.files);
        call.source.files.extend(activation.formula().files);
        call.bind("ACTIVATED_BINDING", Binding::Operand(operand));
        call.constants.extend(activation.constants());
    }

    /// Precision of a pass that has `precision` without a prologue.
    pub(in crate::ops) fn precision(&self, precision: Precision) -> Precision {
        let Some(activation) = self.activation else { return precision };
        let factor = activation.grad_precision();
        Precision {
            exact_on_integers: precision.exact_on_integers && factor.exact_on_integers,
            term_error: precision.term_error * factor.term_error * factor.summed as f64,
            ..precision
        }
    }
}
