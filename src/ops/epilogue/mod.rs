//! What happens to an output value between the sum that made it and the memory that keeps it.

use crate::cpu::add_to_rows;
use crate::ops::activation::Activation;
use crate::ops::kernel::{Binding, KernelCall, shader};
use crate::ops::op::{HostBuffer, Operand, Precision};

/// A bias and an activation, applied to each value of an output `[..,K]` before it is stored:
/// `output = activation(value + bias[k])`.
///
/// Two steps of their own would read and write the whole output again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Whether a bias `[K]` is added.
    pub bias: bool,
    /// The function that is applied to the sum, [checked](Activation::checked).
    pub activation: Option<Activation>,
}

impl Epilogue {
    /// Values are stored as they are.
    pub const NONE: Epilogue = Epilogue { bias: false, activation: None };

    /// Both, `next` behind this one, where they are done in one: a bias before an activation, and one of each.
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

    /// What the definition stores for a sum; `bias` is its channel's.
    pub(in crate::ops) fn define(&self, value: f64, bias: impl FnOnce() -> f64) -> f64 {
        let value = if self.bias { value + bias() } else { value };
        self.activation.map_or(value, |activation| activation.value(value))
    }

    /// Finishes rows of an output that still lie in the cache, on the calling thread alone.
    pub(in crate::ops) fn run_on_cpu(&self, rows: &mut [f32], operands: &[HostBuffer<f32>]) {
        if self.bias {
            add_to_rows(rows, operands[0].reals());
        }
        if let Some(activation) = self.activation {
            activation.apply(rows);
        }
    }

    /// Gives the function `finish` to a kernel that calls it, and the bias to that function: `operand` is the
    /// bias's number among the operands of the operation.
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

    /// Precision of an output whose values have `precision` before they are finished.
    pub(in crate::ops) fn precision(&self, precision: Precision) -> Precision {
        let summed = precision.summed + usize::from(self.bias);
        let Some(activation) = self.activation else { return Precision { summed, ..precision } };
        let own = activation.precision();
        let exact_on_integers = precision.exact_on_integers && own.exact_on_integers;
        if own == Precision::EXACT {
            return Precision { summed, exact_on_integers, ..precision };
        }
        // The error of the sum, as far as the function lets it through, and the function's own on top.
        let term_error = precision.term_error * activation.steepest();
        let own_terms = own.bound() / (f64::from(f32::EPSILON) * term_error);
        Precision { summed: summed + own_terms.ceil() as usize, exact_on_integers, term_error }
    }
}
