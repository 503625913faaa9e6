//! Functions applied to an output value after it is summed and before it is stored.

use crate::cpu::add_to_rows;
use crate::ops::activation::Activation;
use crate::ops::kernel::{Binding, KernelCall, shader};
use crate::ops::op::{HostBuffer, Operand, Precision};

/// A bias and an activation, applied to each value of an output `[..,K]` before it is stored:
/// `output = activation(value + bias[k])`.
///
/// Separate steps would read and write the whole output again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Whether a bias `[K]` is added.
    pub bias: bool,
    /// The function that is applied to the sum, [checked](Activation::checked).
    pub activation: Option<Activation>,
}

impl Epilogue {
    /// Values are stored unchanged.
    pub const NONE: Epilogue = Epilogue { bias: false, activation: None };

    /// This epilogue followed by `next` as a single one; `None` unless they are at most one bias before at most one
    /// activation.
    pub fn then(self, next: Epilogue) -> Option<Epilogue> {
        match (self, next) {
            (Epilogue::NONE, next) => Some(next),
            (Epilogue { bias, activation: None }, Epilogue { bias: false, activation }) => {
                Some(Epilogue { bias, activation })
            }
            _ => None,
        }
    }

    /// The operand that it reads, which comes after those of the operation itself.
    pub fn operand(&self, channels: usize) -> Option<Operand> {
        self.bias.then(|| Operand::read("bias", [channels]))
    }

    /// The value that the definition stores for a sum; `bias` returns that of its channel.
    pub(in crate::ops) fn define(&self, value: f64, bias: impl FnOnce() -> f64) -> f64 {
        let value = if self.bias { value + bias() } else { value };
        self.activation.map_or(value, |activation| activation.value(value))
    }

    /// Applies the epilogue to rows of an output that are still in the cache, on the calling thread.
    pub(in crate::ops) fn run_on_cpu(&self, rows: &mut [f32], operands: &[HostBuffer<f32>]) {
        if self.bias {
            add_to_rows(rows, operands[0].reals());
        }
        if let Some(activation) = self.activation {
            activation.apply(rows);
        }
    }

    /// Adds the function `finish` to a kernel that calls it, and the binding of its bias: `operand` is the bias's
    /// number among the operands of the operation.
    pub(in crate::ops) fn complete(&self, call: &mut KernelCall, operand: usize) {
        let finish = match (self.bias, self.activation) {
            (false, None) => shader!("epilogue/none.wgsl"),
            (true, None) => shader!("epilogue/bias.wgsl"),
            (false, Some(_)) => shader!("epilogue/activation.wgsl"),
            (true, Some(_)) => shader!("epilogue/bias_activation.wgsl"),
        };
        call.source.files.extend(finish.files);
        if self.bias {
            call.source.sizes.push(("BIAS_BINDING", call.bindings.len() as u32));
            call.bindings.push(Binding::Operand(operand));
        }
        if let Some(activation) = self.activation {
            call.source.files.extend(activation.formula().files);
            call.constants.extend(activation.constants());
        }
    }

    /// Precision of an output whose values have `precision` before the epilogue.
    pub(in crate::ops) fn precision(&self, precision: Precision) -> Precision {
        let summed = precision.summed + usize::from(self.bias);
        let Some(activation) = self.activation else { return Precision { summed, ..precision } };
        let own = activation.precision();
        let exact_on_integers = precision.exact_on_integers && own.exact_on_integers;
        if own == Precision::EXACT {
            return Precision { summed, exact_on_integers, ..precision };
        }
        // The error of the sum, scaled by the function's slope, plus the function's own error.
        let term_error = precision.term_error * activation.steepest();
        let own_terms = own.bound() / (f64::from(f32::EPSILON) * term_error);
        Precision { summed: summed + own_terms.ceil() as usize, exact_on_integers, term_error }
    }
}
