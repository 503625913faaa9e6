//! Normalisation with given statistics.

use super::cpu::{Channels, normalise};
use super::{BatchNormSize, complete_bias, complete_weight, inverse_deviation, largest_inverse_deviation};
use crate::device::DeviceProfile;
use crate::ops::epilogue::{Epilogue, Normalise};
use crate::ops::kernel::{Binding, Implementation, KernelCall, Source, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read, Valuewise};

/// Normalises each channel with given statistics: in evaluation, the running ones.
///
/// `output[row,k] = (input[row,k] - mean[k]) / sqrt(variance[k] + epsilon) * weight[k] + bias[k]`
///
/// # Shapes
/// input `[rows,K]`, mean `[K]`, variance `[K]` -> output `[rows,K]`; then weight `[K]` and bias `[K]` if there are any, and
/// the summand `[rows,K]` if the epilogue has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormForward {
    size: BatchNormSize,
    epilogue: Epilogue,
}

/// Numbers of the weight and the bias among the operands, and of all before them.
const WEIGHT: usize = 4;
const BIAS: usize = 5;

impl BatchNormForward {
    /// The normalisation without an epilogue.
    pub fn new(size: BatchNormSize) -> Self {
        BatchNormForward { size, epilogue: Epilogue::NONE }
    }

    /// The same normalisation with an epilogue of a summand or an activation or both.
    ///
    /// # Panics
    /// If the epilogue does anything else.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Self {
        assert!(after_normalising(epilogue).is_some(), "{epilogue:?} after a normalisation");
        BatchNormForward { epilogue, ..self }
    }

    /// The number of the epilogue's first operand.
    fn of_epilogue(&self) -> usize {
        if self.size.affine { 6 } else { 4 }
    }

    /// The definition of one value; `at(operand, k)` reads the value of channel `k` from the operand of this number.
    fn output_at(&self, index: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
        let k = index % self.size.channels;
        let normalised = (at(0, index) - at(1, k)) * inverse_deviation(at(2, k), self.size.epsilon);
        let value = if self.size.affine { normalised * at(WEIGHT, k) + at(BIAS, k) } else { normalised };
        let read = |operand: usize, position: usize| at(self.of_epilogue() + operand, position);
        self.epilogue.define(value, index, self.size.channels, read)
    }
}

/// An epilogue, if all that it does comes after a normalisation.
pub fn after_normalising(epilogue: Epilogue) -> Option<Epilogue> {
    (!epilogue.bias && epilogue.normalise.is_none()).then_some(epilogue)
}

/// Adds what a kernel needs that finishes normalised values: the functions `with_summand` and `activate`.
pub fn complete_finish(call: &mut KernelCall, epilogue: &Epilogue, of_epilogue: usize) {
    match epilogue.summand() {
        Some(number) => {
            call.source.files.extend(shader!("norm/summand.wgsl").files);
            call.bind("SUMMAND_BINDING", Binding::Operand(of_epilogue + number));
        }
        None => call.source.files.extend(shader!("norm/no_summand.wgsl").files),
    }
    epilogue.complete_activation(call);
}

/// The launch that normalises every element: binds input, output, mean and variance, which have these numbers and which
/// `statistics` declares, then the `weight` and the bias after it, and what the epilogue reads.
pub fn direct(
    size: &BatchNormSize,
    biased: f64,
    operands: [usize; 4],
    statistics: Source,
    weight: Option<usize>,
    epilogue: &Epilogue,
    of_epilogue: usize,
) -> KernelCall {
    let mut source = shader!(
        "norm/forward_direct.wgsl",
        "norm/batch_deviation.wgsl",
        "norm/deviation.wgsl",
        "norm/finish.wgsl",
        "grid.wgsl"
    );
    source.files.extend(statistics.files);
    let mut call = KernelCall::elementwise(source, size.constants(biased), 4, size.elements());
    call.bindings = operands.map(Binding::Operand).to_vec();
    complete_weight(&mut call, weight);
    complete_bias(&mut call, weight.map(|weight| weight + 1));
    complete_finish(&mut call, epilogue, of_epilogue);
    call
}

impl Op for BatchNormForward {
    fn name(&self) -> &'static str {
        "batch_norm.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let channels = self.size.channels;
        let mut operands = vec![
            Operand::read("input", self.size.shape()),
            Operand::read("mean", [channels]),
            Operand::read("variance", [channels]).without_sign(),
            Operand::write("output", self.size.shape()),
        ];
        if self.size.affine {
            operands.extend(["weight", "bias"].map(|name| Operand::read(name, [channels])));
        }
        operands.extend(self.epilogue.operands(self.size.shape()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let buffers = operands.as_mut_slice();
        let at = |operand: usize, index: usize| buffers[operand].reals()[index];
        let output: Vec<f64> = (0..self.size.elements()).map(|index| self.output_at(index, at)).collect();
        buffers[3].reals_mut().copy_from_slice(&output);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(index, read))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([input, mean, variance, output], more) = operands.split();
            let affine = |number: usize| self.size.affine.then(|| more[number].reals());
            let (weight, bias) = (affine(0), affine(1));
            let of_epilogue = self.of_epilogue() - WEIGHT;
            let summand = self.epilogue.summand().map(|number| more[of_epilogue + number].reals());
            let (mean, variance) = (mean.reals(), variance.reals());
            let channels = Channels { mean, variance, biased: 1.0, weight, bias };
            normalise(&self.size, &channels, &self.epilogue, summand, input.reals(), output.reals_mut());
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let weight = self.size.affine.then_some(WEIGHT);
        let statistics = shader!("norm/given_statistics.wgsl");
        let call =
            direct(&self.size, 1.0, [0, 3, 1, 2], statistics, weight, &self.epilogue, self.of_epilogue());
        vec![Implementation::of("direct", call)]
    }

    fn as_epilogue(&self, operand: usize) -> Option<Valuewise<Epilogue>> {
        let normalise = Some(Normalise { epsilon: self.size.epsilon });
        let function = Epilogue { normalise, ..self.epilogue };
        (operand == 0 && self.size.affine).then_some(Valuewise { function, takes: 0, gives: 3 })
    }

    fn fuse_epilogue(&self, _: usize, next: Epilogue) -> Option<Box<dyn Op>> {
        let epilogue = self.epilogue.then(after_normalising(next)?)?;
        Some(Box::new(BatchNormForward { epilogue, ..*self }))
    }

    /// A difference, a product and a multiply-add per value; work per channel is not counted.
    fn flops(&self) -> u64 {
        4 * self.size.elements() as u64
    }

    fn precision(&self) -> Precision {
        let normalised = 4.0 * (1.0 + largest_inverse_deviation(self.size.epsilon));
        self.epilogue.precision(Precision::approximate(normalised))
    }
}
