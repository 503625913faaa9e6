//! Functions applied to an output value after it is summed and before it is stored.

use crate::cpu::{add_to_rows, vectorized, with_scratch};
use crate::ops::activation::Activation;
use crate::ops::kernel::{Binding, KernelCall, Source, shader};
use crate::ops::op::{HostBuffer, Operand, Precision};
use crate::tensor::Shape;

/// What is done to each value of an output `[..,K]` before it is stored, in this order:
///
/// ```text
/// value += bias[k]
/// value = (value - mean[k]) / sqrt(variance[k] + epsilon) * scale[k] + shift[k]
/// value += summand[index]
/// value = activation(value)
/// ```
///
/// Separate steps would read and write the whole output again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Whether a bias `[K]` is added.
    pub bias: bool,
    /// A normalisation with given statistics, as networks with running statistics have it in evaluation.
    pub normalise: Option<Normalise>,
    /// Whether a tensor of the output's shape is added: the other branch of a residual block.
    pub summand: bool,
    /// The function that is applied to the sum, [checked](Activation::checked).
    pub activation: Option<Activation>,
}

/// A normalisation of each channel with given statistics, and a scale and a shift.
///
/// It is applied to the values as they are, rather than folded into filters and a bias: the answer is that of a separate
/// step to the last bit, there is no second copy of the filters to keep up with weights that change, and beside a value's
/// sum a multiply-add costs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalise {
    /// Added to the variance, to keep the divisor away from zero.
    pub epsilon: f32,
}

/// The operands of a [`Normalise`], all `[K]`.
const OF_NORMALISE: [&str; 4] = ["mean", "variance", "scale", "shift"];

impl Epilogue {
    /// Values are stored unchanged.
    pub const NONE: Epilogue = Epilogue { bias: false, normalise: None, summand: false, activation: None };

    /// This epilogue followed by `next` as a single one; `None` unless everything in `next` comes after everything in this
    /// one.
    pub fn then(self, next: Epilogue) -> Option<Epilogue> {
        let stages = |it: &Epilogue| [it.bias, it.normalise.is_some(), it.summand, it.activation.is_some()];
        let (own, following) = (stages(&self), stages(&next));
        let last = own.iter().rposition(|&has| has);
        let first = following.iter().position(|&has| has);
        let is_in_order = last.zip(first).is_none_or(|(last, first)| last < first);
        is_in_order.then_some(Epilogue {
            bias: self.bias || next.bias,
            normalise: self.normalise.or(next.normalise),
            summand: self.summand || next.summand,
            activation: self.activation.or(next.activation),
        })
    }

    /// The same epilogue if each value's channel is all that it has to know of the value's place.
    pub fn by_channel(self) -> Option<Epilogue> {
        (!self.summand).then_some(self)
    }

    /// The operands that it reads, which come after those of the operation itself; its output has this `shape`.
    pub fn operands(&self, shape: impl Into<Shape>) -> Vec<Operand> {
        let shape = shape.into();
        let channels = *shape.sizes().last().expect("an axis of channels");
        let mut operands = Vec::new();
        operands.extend(self.bias.then(|| Operand::read("bias", [channels])));
        if self.normalise.is_some() {
            operands.extend(OF_NORMALISE.map(|name| Operand::read(name, [channels])));
            let variance = operands.len() - 3;
            operands[variance].without_sign = true;
        }
        operands.extend(self.summand.then(|| Operand::read("summand", shape)));
        operands
    }

    /// The number of the first operand of the normalisation among those of the epilogue.
    fn of_normalise(&self) -> usize {
        usize::from(self.bias)
    }

    /// The number of the summand among the operands of the epilogue.
    pub(in crate::ops) fn summand(&self) -> Option<usize> {
        let before = self.of_normalise() + self.normalise.map_or(0, |_| OF_NORMALISE.len());
        self.summand.then_some(before)
    }

    /// The value that the definition stores at `index` for a sum; `read(operand, position)` reads from the operands of the
    /// epilogue, of which those of channels have `channels` values.
    pub(in crate::ops) fn define(
        &self,
        mut value: f64,
        index: usize,
        channels: usize,
        read: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let k = index % channels;
        if self.bias {
            value += read(0, k);
        }
        if let Some(Normalise { epsilon }) = self.normalise {
            let [mean, variance, scale, shift] = [0, 1, 2, 3].map(|i| read(self.of_normalise() + i, k));
            value = (value - mean) / (variance + f64::from(epsilon)).sqrt() * scale + shift;
        }
        if let Some(summand) = self.summand() {
            value += read(summand, index);
        }
        self.activation.map_or(value, |activation| activation.value(value))
    }

    /// Applies the epilogue, [by channel](Self::by_channel), to rows of an output that are still in the cache, on the
    /// calling thread.
    pub(in crate::ops) fn run_on_cpu(&self, rows: &mut [f32], operands: &[HostBuffer<f32>]) {
        if self.bias {
            add_to_rows(rows, operands[0].reals());
        }
        if let Some(Normalise { epsilon }) = self.normalise {
            let [mean, variance, scale, shift] =
                [0, 1, 2, 3].map(|i| operands[self.of_normalise() + i].reals());
            with_scratch(mean.len(), |factors| {
                vectorized(|| {
                    for ((factor, variance), scale) in factors.iter_mut().zip(variance).zip(scale) {
                        *factor = 1.0 / (variance + epsilon).sqrt() * scale;
                    }
                    for row in rows.chunks_exact_mut(mean.len()) {
                        for (((value, mean), factor), shift) in
                            row.iter_mut().zip(mean).zip(&*factors).zip(shift)
                        {
                            *value = (*value - mean) * factor + shift;
                        }
                    }
                });
            });
        }
        if let Some(activation) = self.activation {
            activation.apply(rows);
        }
    }

    /// Adds the function `finish` to a kernel that calls it with a channel and a value, and the bindings of what it reads:
    /// the epilogue is [by channel](Self::by_channel), and its operands have the numbers from `operand` among those of the
    /// operation.
    pub(in crate::ops) fn complete(&self, call: &mut KernelCall, operand: usize) {
        let mut add = |source: Source| call.source.files.extend(source.files);
        add(shader!("epilogue/finish.wgsl"));
        add(match self.bias {
            true => shader!("epilogue/bias.wgsl"),
            false => shader!("epilogue/no_bias.wgsl"),
        });
        add(match self.normalise {
            Some(_) => shader!("epilogue/normalise.wgsl", "norm/deviation.wgsl"),
            None => shader!("epilogue/as_it_is.wgsl"),
        });
        let mut bind = |name, number| call.bind(name, Binding::Operand(operand + number));
        if self.bias {
            bind("BIAS_BINDING", 0);
        }
        if let Some(Normalise { epsilon }) = self.normalise {
            let names = ["MEAN_BINDING", "VARIANCE_BINDING", "SCALE_BINDING", "SHIFT_BINDING"];
            (self.of_normalise()..).zip(names).for_each(|(number, name)| bind(name, number));
            call.constants.push(("EPSILON", epsilon.into()));
        }
        self.complete_activation(call);
    }

    /// Adds the function `activate` to a kernel that calls it.
    pub(in crate::ops) fn complete_activation(&self, call: &mut KernelCall) {
        let Some(activation) = self.activation else {
            call.source.files.extend(shader!("epilogue/no_activation.wgsl").files);
            return;
        };
        call.source.files.extend(activation.formula().files);
        call.constants.extend(activation.constants());
    }

    /// Precision of an output whose values have `precision` before the epilogue.
    pub(in crate::ops) fn precision(&self, precision: Precision) -> Precision {
        let mut precision = precision;
        precision.summed += usize::from(self.bias);
        if let Some(Normalise { epsilon }) = self.normalise {
            // The error of the sum, scaled as the sum is, and a few roundings of a product as large.
            let largest = 1.0 / f64::from(epsilon).sqrt();
            precision = Precision {
                summed: precision.summed + 2,
                exact_on_integers: false,
                term_error: precision.term_error * (1.0 + largest) * 2.0,
            };
        }
        precision.summed += usize::from(self.summand);
        let Some(activation) = self.activation else { return precision };
        let own = activation.precision();
        let exact_on_integers = precision.exact_on_integers && own.exact_on_integers;
        if own == Precision::EXACT {
            return Precision { exact_on_integers, ..precision };
        }
        // The error of the sum, scaled by the function's slope, plus the function's own error.
        let term_error = precision.term_error * activation.steepest();
        let own_terms = own.bound() / (f64::from(f32::EPSILON) * term_error);
        Precision { summed: precision.summed + own_terms.ceil() as usize, exact_on_integers, term_error }
    }
}
