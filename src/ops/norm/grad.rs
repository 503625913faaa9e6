//! The gradients of a normalisation with the statistics of the batch itself.

use std::any::Any;

use super::cpu::{Channels, Gradient, grad_input, gradient_sums};
use super::slices::Slices;
use super::{
    BatchNormSize, BatchNormTrain, complete_bias, complete_weight, fast_inverse_deviation, inverse_deviation,
    largest_inverse_deviation, train,
};
use crate::device::DeviceProfile;
use crate::ops::activation::{Activation, Saved};
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Binding, Implementation, KernelCall, best_first, shader};
use crate::ops::op::{
    CpuForm, HostBuffer, Op, Operand, Operands, Precision, Read, Recomputing, WithPrologue,
};
use crate::ops::parts::Loops;
use crate::ops::prologue::Prologue;

/// Gradients of the loss with respect to the weight, the bias, and the input, on which the mean and the variance depend.
///
/// ```text
/// inverse[k] = 1 / sqrt(variance[k] * (rows - 1) / rows + epsilon)
/// normalised[row,k] = (input[row,k] - mean[k]) * inverse[k]
/// grad_weight[k] = sum over rows of grad_output[row,k] * normalised[row,k]
/// grad_bias[k] = sum over rows of grad_output[row,k]
/// grad_input[row,k] = weight[k] * inverse[k] *
///     (grad_output[row,k] - grad_bias[k] / rows - normalised[row,k] * grad_weight[k] / rows)
/// ```
///
/// The mean and the unbiased variance are those that [`BatchNormTrain`] writes. The gradients of the
/// weight and the bias are written even if there are no such parameters, since that of the input is made of them.
///
/// With a [`Prologue`], `grad_output` is times the derivative of an activation whose input was the normalised tensor. The
/// derivative is computed from what the activation saved, which is an operand, or is computed again from the normalised
/// values, which then take no memory. Others may need the product too, such as the other branch of a residual block: then
/// it is written as `grad_summand`.
///
/// # Shapes
/// input `[rows,K]`, mean `[K]`, variance `[K]`, grad_output `[rows,K]` -> grad_weight `[K]`, grad_bias `[K]`; then
/// grad_input `[rows,K]` if it is needed, weight `[K]` if there is one and it is needed, and what the prologue reads or
/// writes: bias `[K]` or activated `[rows,K]`, grad_summand `[rows,K]`.
///
/// # Source
/// Ioffe and Szegedy 2015, section 3, with the sums combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormGrad {
    size: BatchNormSize,
    needs_input: bool,
    // Whether the statistics are not the batch's.
    given: bool,
    before: Before,
}

/// How a gradient is made of `grad_output`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    /// It is the same.
    Nothing,
    /// Times a derivative, from an operand with what the activation saved; perhaps written for others too.
    Saved { activation: Activation, shared: bool },
    /// Times a derivative, from normalised values.
    Recomputed(Activation),
}

/// Numbers of operands; others depend on what there is.
const INPUT: usize = 0;
const MEAN: usize = 1;
const VARIANCE: usize = 2;
const GRAD_OUTPUT: usize = 3;
const GRAD_WEIGHT: usize = 4;
const GRAD_BIAS: usize = 5;

/// The numbers of operands that are there only sometimes.
struct Numbers {
    grad_input: Option<usize>,
    weight: Option<usize>,
    bias: Option<usize>,
    activated: Option<usize>,
    grad_summand: Option<usize>,
}

impl BatchNormGrad {
    /// The gradients without a prologue; that of the input only if it is needed.
    pub fn new(size: BatchNormSize, needs_input: bool) -> Self {
        BatchNormGrad { size, needs_input, given: false, before: Before::Nothing }
    }

    /// The gradients of the weight and the bias alone, where mean and variance are given rather than those of the batch, as
    /// for [`BatchNormForward`](super::BatchNormForward): the variance is not corrected.
    pub fn with_given_statistics(size: BatchNormSize) -> Self {
        BatchNormGrad { given: true, ..BatchNormGrad::new(size, false) }
    }

    /// The factor of the variance.
    fn biased(&self) -> f64 {
        if self.given { 1.0 } else { self.size.biased() }
    }

    /// The gradients behind an activation, from what it saved; with `shared`, the gradient of the activation's input is
    /// written too.
    pub fn behind(self, activation: Activation, shared: bool) -> Self {
        BatchNormGrad { before: Before::Saved { activation, shared }, ..self }
    }

    /// The gradients behind an activation whose input is computed again.
    pub fn behind_recomputed(self, activation: Activation) -> Self {
        BatchNormGrad { before: Before::Recomputed(activation), ..self }
    }

    fn activation(&self) -> Option<Activation> {
        match self.before {
            Before::Nothing => None,
            Before::Saved { activation, .. } | Before::Recomputed(activation) => Some(activation),
        }
    }

    fn numbers(&self) -> Numbers {
        let mut next = GRAD_BIAS + 1;
        let mut number = |is_there: bool| {
            let number = next;
            next += usize::from(is_there);
            is_there.then_some(number)
        };
        let (affine, recomputes) = (self.size.affine, matches!(self.before, Before::Recomputed(_)));
        Numbers {
            grad_input: number(self.needs_input),
            weight: number(affine && (self.needs_input || recomputes)),
            bias: number(affine && recomputes),
            activated: number(matches!(self.before, Before::Saved { .. })),
            grad_summand: number(matches!(self.before, Before::Saved { shared: true, .. })),
        }
    }

    /// The definition of the inverse deviation of channel `k`; `at` reads a value from the operand of a number.
    fn inverse(&self, k: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        inverse_deviation(at(VARIANCE, k) * self.biased(), self.size.epsilon)
    }

    /// The definition of a value's difference from the mean, times the inverse deviation.
    fn normalised(&self, index: usize, at: impl Fn(usize, usize) -> f64 + Copy) -> f64 {
        let k = index % self.size.channels;
        (at(INPUT, index) - at(MEAN, k)) * self.inverse(k, at)
    }

    /// The definition of the gradient of a normalised value.
    fn gradient(&self, index: usize, at: impl Fn(usize, usize) -> f64 + Copy) -> f64 {
        let (k, grad) = (index % self.size.channels, at(GRAD_OUTPUT, index));
        let Numbers { weight, bias, activated, .. } = self.numbers();
        match self.before {
            Before::Nothing => grad,
            Before::Saved { activation, .. } => {
                grad * activation.derivative(at(activated.expect("what was saved"), index))
            }
            Before::Recomputed(activation) => {
                let factor = weight.map_or(1.0, |weight| at(weight, k));
                let shift = bias.map_or(0.0, |bias| at(bias, k));
                let value = self.normalised(index, at) * factor + shift;
                let saved = match activation.saves() {
                    Saved::Input => value,
                    Saved::Output => activation.value(value),
                };
                grad * activation.derivative(saved)
            }
        }
    }

    /// The definition of the gradients of channel `k`'s weight and bias.
    fn sums(&self, k: usize, at: impl Fn(usize, usize) -> f64 + Copy) -> [f64; 2] {
        let column = || (0..self.size.rows).map(|row| row * self.size.channels + k);
        [
            column().map(|index| self.gradient(index, at) * self.normalised(index, at)).sum(),
            column().map(|index| self.gradient(index, at)).sum(),
        ]
    }

    /// The definition of one value of the input's gradient, from the sums of its channel.
    fn grad_input(
        &self,
        index: usize,
        [grad_weight, grad_bias]: [f64; 2],
        at: impl Fn(usize, usize) -> f64 + Copy,
    ) -> f64 {
        let (k, rows) = (index % self.size.channels, self.size.rows as f64);
        let weight = self.numbers().weight.map_or(1.0, |weight| at(weight, k));
        let through_statistics = grad_bias / rows + self.normalised(index, at) * grad_weight / rows;
        weight * self.inverse(k, at) * (self.gradient(index, at) - through_statistics)
    }

    /// Runs on the CPU. What is written is taken out of the buffers meanwhile.
    fn run_on_cpu(&self, buffers: &mut [HostBuffer<f32>]) {
        let numbers = self.numbers();
        let mut take = |number: Option<usize>| number.map(|number| std::mem::take(&mut buffers[number]));
        let [mut grad_weight, mut grad_bias] =
            [GRAD_WEIGHT, GRAD_BIAS].map(|number| take(Some(number)).expect("a number"));
        let (mut for_input, mut for_summand) = (take(numbers.grad_input), take(numbers.grad_summand));
        let read = |number: usize| buffers[number].reals();
        let size = &self.size;
        let channels = Channels {
            mean: read(MEAN),
            variance: read(VARIANCE),
            biased: self.biased() as f32,
            weight: numbers.weight.map(read),
            bias: numbers.bias.map(read),
        };
        let (input, grad) = (read(INPUT), read(GRAD_OUTPUT));
        channels.with_factors(size, |factors| {
            let gradient = match self.before {
                Before::Nothing => Gradient::Plain(grad),
                Before::Saved { activation, .. } => {
                    let saved = read(numbers.activated.expect("what was saved"));
                    Gradient::Saved { grad, activation, saved }
                }
                Before::Recomputed(activation) => Gradient::Recomputed { grad, activation },
            };
            // A gradient that costs more than to write and read it is kept, for want of others in the memory of the result.
            let kept = match (&mut for_summand, &mut for_input) {
                (Some(summand), _) => Some(summand.reals_mut()),
                (None, Some(input)) if !gradient.is_cheap() => Some(input.reals_mut()),
                _ => None,
            };
            let sums = [grad_weight.reals_mut(), grad_bias.reals_mut()];
            gradient_sums(size, &gradient, input, &factors, sums, kept);
            for (grad, &variance) in grad_weight.reals_mut().iter_mut().zip(channels.variance) {
                *grad *= fast_inverse_deviation(variance * channels.biased, size.epsilon);
            }
            if let Some(for_input) = &mut for_input {
                let summand = for_summand.as_ref().map(|summand| Gradient::Plain(summand.reals()));
                let given = summand.or(gradient.is_cheap().then_some(gradient));
                let sums = [grad_weight.reals(), grad_bias.reals()];
                let result = for_input.reals_mut();
                grad_input(size, &channels, given.as_ref(), input, &factors, sums, result);
            }
        });
        buffers[GRAD_WEIGHT] = grad_weight;
        buffers[GRAD_BIAS] = grad_bias;
        let rest = [(numbers.grad_input, for_input), (numbers.grad_summand, for_summand)];
        for (number, buffer) in rest {
            if let (Some(number), Some(buffer)) = (number, buffer) {
                buffers[number] = buffer;
            }
        }
    }

    /// Adds the function `gradient` to a kernel that reads `grad_output` and may compute normalised values again.
    fn complete_gradient(&self, call: &mut KernelCall) {
        call.bind("GRAD_OUTPUT_BINDING", Binding::Operand(GRAD_OUTPUT));
        let Some(activation) = self.activation() else {
            call.source.files.extend(shader!("norm/gradient/plain.wgsl").files);
            return;
        };
        let source = match (self.before, activation.saves()) {
            (Before::Recomputed(_), Saved::Input) => shader!("norm/gradient/from_input.wgsl"),
            (Before::Recomputed(_), Saved::Output) => shader!("norm/gradient/from_output.wgsl"),
            _ => shader!("norm/gradient/saved.wgsl"),
        };
        call.source.files.extend(source.files);
        if let Some(activated) = self.numbers().activated {
            call.bind("ACTIVATED_BINDING", Binding::Operand(activated));
        }
        call.source.files.extend(activation.formula().files);
        call.constants.extend(activation.constants());
    }

    /// Adds the function `gradient` to a kernel: it reads what an earlier launch has written, if it has.
    fn complete_given_gradient(&self, call: &mut KernelCall, given: Option<Binding>) {
        let Some(given) = given else { return self.complete_gradient(call) };
        call.source.files.extend(shader!("norm/gradient/given.wgsl").files);
        call.bind("GRAD_SUMMAND_BINDING", given);
    }

    /// Two launches: the sums of slices of the rows; then the gradient of the input for the rows of a slice, for which each
    /// workgroup adds the sums of all slices again.
    fn sliced(&self, slices: &Slices) -> Implementation {
        let numbers = self.numbers();
        let operand = Binding::Operand;
        let first = shader!(
            "norm/grad_slices.wgsl",
            "norm/batch_deviation.wgsl",
            "norm/deviation.wgsl",
            "norm/lanes.wgsl",
            "norm/sums.wgsl",
            "grid.wgsl"
        );
        let sums = Binding::Workspace(0);
        let mut first = slices.call(first, vec![operand(INPUT), operand(MEAN), operand(VARIANCE), sums]);
        first.constants.extend(self.size.of_deviation(self.biased()));
        complete_weight(&mut first, numbers.weight);
        complete_bias(&mut first, numbers.bias);
        self.complete_gradient(&mut first);
        match numbers.grad_summand {
            Some(grad_summand) => {
                first.source.files.extend(shader!("norm/gradient/keep.wgsl").files);
                first.bind("GRAD_SUMMAND_BINDING", operand(grad_summand));
            }
            None => first.source.files.extend(shader!("norm/gradient/keep_nothing.wgsl").files),
        }
        let results = [operand(GRAD_WEIGHT), operand(GRAD_BIAS)];
        let second = match numbers.grad_input {
            Some(grad_input) => {
                let second = shader!("norm/grad_rows.wgsl", "norm/lanes.wgsl", "norm/sums.wgsl", "grid.wgsl");
                let bindings = [&[operand(INPUT), sums][..], &results, &[operand(grad_input)]].concat();
                let mut second = slices.call(second, bindings);
                self.complete_given_gradient(&mut second, numbers.grad_summand.map(operand));
                second
            }
            None => {
                let second =
                    shader!("norm/grad_of_slices.wgsl", "norm/lanes.wgsl", "norm/sums.wgsl", "grid.wgsl");
                slices.call_once(second, [&[sums][..], &results].concat())
            }
        };
        let workspace = vec![2 * (FACTORS + slices.count) * self.size.channels];
        Implementation::of_calls("sliced", vec![first, second], workspace).tailored()
    }

    /// The gradient before the normalisation's own, if it is not `grad_output` itself; then the sums of each channel; then
    /// the gradient of each element of the input.
    fn direct(&self, device: &DeviceProfile) -> Implementation {
        let (size, numbers) = (&self.size, self.numbers());
        let operands = |numbers: &[usize]| -> Vec<Binding> {
            numbers.iter().map(|&number| Binding::Operand(number)).collect()
        };
        let mut calls = Vec::new();
        let mut workspace = Vec::new();
        let given = self.activation().map(|_| {
            numbers.grad_summand.map_or_else(
                || {
                    workspace.push(size.elements());
                    Binding::Workspace(0)
                },
                Binding::Operand,
            )
        });
        if let Some(given) = given {
            let source = shader!(
                "norm/gradient_direct.wgsl",
                "norm/batch_deviation.wgsl",
                "norm/deviation.wgsl",
                "norm/gradient/keep.wgsl",
                "grid.wgsl"
            );
            let mut call = KernelCall::elementwise(source, size.constants(self.biased()), 3, size.elements());
            call.bindings = operands(&[INPUT, MEAN, VARIANCE]);
            call.bind("GRAD_SUMMAND_BINDING", given);
            complete_weight(&mut call, numbers.weight);
            complete_bias(&mut call, numbers.bias);
            self.complete_gradient(&mut call);
            calls.push(call);
        }
        let source = shader!(
            "norm/grad_parameters_direct.wgsl",
            "norm/batch_deviation.wgsl",
            "norm/deviation.wgsl",
            "part.wgsl",
            "grid.wgsl"
        );
        let mut constants = vec![("CHANNELS", size.channels.into())];
        constants.extend(size.of_deviation(self.biased()));
        let mut sums = KernelCall::elementwise(source, constants, 5, size.channels);
        sums.bindings = operands(&[INPUT, MEAN, VARIANCE, GRAD_WEIGHT, GRAD_BIAS]);
        self.complete_given_gradient(&mut sums, given);
        calls.extend(Loops::over(size.rows).launches(&sums, device));
        if let Some(grad_input) = numbers.grad_input {
            let source = shader!(
                "norm/grad_input_direct.wgsl",
                "norm/batch_deviation.wgsl",
                "norm/deviation.wgsl",
                "grid.wgsl"
            );
            let mut call = KernelCall::elementwise(source, size.constants(self.biased()), 6, size.elements());
            call.bindings = operands(&[INPUT, MEAN, VARIANCE, GRAD_WEIGHT, GRAD_BIAS, grad_input]);
            complete_weight(&mut call, numbers.weight);
            self.complete_given_gradient(&mut call, given);
            calls.push(call);
        }
        Implementation::of_calls("direct", calls, workspace)
    }
}

/// Rows of the scratch memory of `sliced` before those of the slices: factors of each channel, as norm/grad_slices.wgsl
/// describes them.
const FACTORS: usize = 2;

impl Op for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm.grad"
    }

    fn operands(&self) -> Vec<Operand> {
        let (shape, channels) = (self.size.shape(), self.size.channels);
        let numbers = self.numbers();
        let mut operands = vec![
            Operand::read("input", shape),
            Operand::read("mean", [channels]),
            Operand::read("variance", [channels]).without_sign(),
            Operand::read("grad_output", shape),
            Operand::write("grad_weight", [channels]),
            Operand::write("grad_bias", [channels]),
        ];
        operands.extend(numbers.grad_input.map(|_| Operand::write("grad_input", shape)));
        operands.extend(numbers.weight.map(|_| Operand::read("weight", [channels])));
        operands.extend(numbers.bias.map(|_| Operand::read("bias", [channels])));
        operands.extend(numbers.activated.map(|_| Operand::read("activated", shape)));
        operands.extend(numbers.grad_summand.map(|_| Operand::write("grad_summand", shape)));
        operands
    }

    fn takes_halves(&self, operand: usize) -> bool {
        ![GRAD_WEIGHT, GRAD_BIAS].contains(&operand)
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let channels = self.size.channels;
        let numbers = self.numbers();
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let sums: Vec<[f64; 2]> = (0..channels).map(|k| self.sums(k, at)).collect();
        let all = 0..self.size.elements();
        let of_input: Vec<f64> =
            all.clone().map(|index| self.grad_input(index, sums[index % channels], at)).collect();
        let of_summand: Vec<f64> = all.map(|index| self.gradient(index, at)).collect();
        for (k, [grad_weight, grad_bias]) in sums.into_iter().enumerate() {
            buffers[GRAD_WEIGHT].reals_mut()[k] = grad_weight;
            buffers[GRAD_BIAS].reals_mut()[k] = grad_bias;
        }
        for (number, values) in [(numbers.grad_input, of_input), (numbers.grad_summand, of_summand)] {
            if let Some(number) = number {
                buffers[number].reals_mut().copy_from_slice(&values);
            }
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let (channels, elements) = (self.size.channels, self.size.elements());
        let sums = |k: usize| self.sums(k, read);
        Some(match index.checked_sub(2 * channels) {
            None => sums(index % channels)[index / channels],
            Some(index) if self.needs_input && index < elements => {
                self.grad_input(index, sums(index % channels), read)
            }
            Some(index) => self.gradient(index % elements, read),
        })
    }

    /// The input and the gradient of the output are read twice: once for the sums, once for the gradient of the input.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| self.run_on_cpu(operands.as_mut_slice()))
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let sliced = Slices::new(&self.size, device).map(|slices| self.sliced(&slices));
        best_first(sliced.into_iter().chain([self.direct(device)]).collect())
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let activation = before.activation()?;
        let op = self.behind(activation, false);
        let fits = operand == GRAD_OUTPUT && self.before == Before::Nothing;
        fits.then(|| WithPrologue { op: Box::new(op), reads: 1 + usize::from(self.needs_input) })
    }

    fn fuse_shared_prologue(&self, operand: usize, before: Prologue) -> Option<Box<dyn Op>> {
        let op = self.behind(before.activation()?, true);
        let fits = operand == GRAD_OUTPUT && self.before == Before::Nothing;
        fits.then(|| Box::new(op) as Box<dyn Op>)
    }

    fn recompute(&self, operand: usize, writer: &dyn Op) -> Option<Recomputing> {
        let Before::Saved { activation, shared: false } = self.before else { return None };
        let forward = (writer as &dyn Any).downcast_ref::<BatchNormTrain>()?;
        let forward = forward.before(match activation.saves() {
            Saved::Input => Epilogue::NONE,
            Saved::Output => Epilogue { activation: Some(activation), ..Epilogue::NONE },
        })?;
        let numbers = self.numbers();
        let mut same = vec![[INPUT, train::INPUT], [MEAN, train::MEAN], [VARIANCE, train::VARIANCE]];
        same.extend(numbers.weight.map(|weight| [weight, train::WEIGHT]));
        let mut further = Vec::new();
        if self.size.affine {
            further.extend(numbers.weight.is_none().then_some(train::WEIGHT));
            further.push(train::BIAS);
        }
        let fits = numbers.activated == Some(operand) && forward == self.size;
        fits.then(|| Recomputing {
            op: Box::new(self.behind_recomputed(activation)),
            written: train::OUTPUT,
            same,
            further,
        })
    }

    /// A difference, a product and a multiply-add for the sums; three differences and three products for the input.
    fn flops(&self) -> u64 {
        let each = if self.needs_input { 10 } else { 4 };
        each * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        let inverse = largest_inverse_deviation(self.size.epsilon);
        let term_error = 4.0 * (1.0 + inverse * (1.0 + inverse));
        let precision = Precision { summed: self.size.rows, exact_on_integers: false, term_error };
        let Some(activation) = self.activation() else { return precision };
        Prologue::of_any(activation).precision(precision)
    }
}
