//! The gradient of a dense layer's weight.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceProfile;
use crate::ops::bias::{BesideWeight, BiasGrad};
use crate::ops::gemm::{Product, Quads, TiledKernel, reads_of_a};
use crate::ops::kernel::{Implementation, KernelCall, best_first, shader};
use crate::ops::op::{Beside, CpuForm, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::parts::Loops;
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the weight.
///
/// `grad_weight[o,i] = sum over n of grad_output[n,o] * input[n,i]`
///
/// With the [bias's](BiasGrad) gradient, the sums of grad_output, which it reads anyway: `grad_bias[o] = sum over n of
/// grad_output[n,o]`.
///
/// # Shapes
/// input `[N,I]`, grad_output `[N,O]` -> grad_weight `[O,I]`, then activated `[N,O]` if there is a [`Prologue`], then grad_bias
/// `[O]` if it is wanted; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseGradWeight {
    /// The sizes.
    pub size: DenseSize,
    /// The function applied to each value of grad_output as it is read.
    pub prologue: Prologue,
    /// Whether the gradient of the bias is computed too.
    pub with_bias: bool,
}

/// The number of `activated` among the operands: it comes after those that every gradient has.
const ACTIVATED: usize = 3;

impl DenseGradWeight {
    /// The gradient without a prologue.
    pub fn new(size: DenseSize) -> Self {
        DenseGradWeight { size, prologue: Prologue::NONE, with_bias: false }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        DenseGradWeight { prologue, ..self }
    }

    /// The same gradient, and the bias's.
    pub fn with_bias(self) -> Self {
        DenseGradWeight { with_bias: true, ..self }
    }

    /// The bias's gradient, if it is wanted, as an operation of its own.
    fn bias(&self) -> Option<BesideWeight> {
        let grad = BiasGrad::new(self.size.batch_size, self.size.out_features).with_prologue(self.prologue);
        self.with_bias.then(|| BesideWeight::new(grad))
    }

    /// The definition of the gradient of weight `index`, from the values of the other operands.
    fn grad_at(&self, index: usize, input: impl Fn(usize) -> f64, grad_output: impl Fn(usize) -> f64) -> f64 {
        let DenseSize { batch_size, in_features, out_features } = self.size;
        let (o, i) = (index / in_features, index % in_features);
        (0..batch_size).map(|n| grad_output(n * out_features + o) * input(n * in_features + i)).sum()
    }
}

impl Op for DenseGradWeight {
    fn name(&self) -> &'static str {
        "dense.grad_weight"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", self.size.input_shape()),
            Operand::read("grad_output", self.size.output_shape()),
            Operand::write("grad_weight", self.size.weight_shape()),
        ];
        operands.extend(self.prologue.operand(self.size.output_shape()));
        operands.extend(self.bias().map(|bias| bias.operand()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([input, grad_output, grad_weight], more) = operands.split();
        if let Some(bias) = self.bias() {
            bias.define(grad_output, more);
        }
        let (input, grad_output) = (input.reals(), self.prologue.define(grad_output.reals(), more));
        for (index, grad_weight) in grad_weight.reals_mut().iter_mut().enumerate() {
            *grad_weight = self.grad_at(index, |i| input[i], |i| grad_output[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let grad_output = |i| self.prologue.define_at(read(1, i), || read(ACTIVATED, i));
        if let (Some(bias), Some(o)) = (self.bias(), index.checked_sub(self.size.weight_shape().elements())) {
            return Some(bias.grad.grad_at(o, grad_output));
        }
        Some(self.grad_at(index, |i| read(0, i), grad_output))
    }

    /// A few rows of the weight at a time.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let DenseSize { batch_size, in_features, out_features } = self.size;
            let ([input, grad_output, grad_weight], more) = operands.split();
            if let Some(bias) = self.bias() {
                bias.run_on_cpu(grad_output, more);
            }
            let (grad_output, grad_weight) = (grad_output.reals(), grad_weight.reals_mut());
            let input = Matrix::row_major(input.reals(), batch_size, in_features);
            self.prologue.run_on_cpu(grad_output, 0..grad_output.len(), more, |grad_output| {
                grad_weight.par_chunks_mut(CHUNK_ROWS * in_features).enumerate().for_each(
                    |(chunk, grad_weight)| {
                        let rows = grad_weight.len() / in_features;
                        let grad_output =
                            Matrix::columns(grad_output, batch_size, out_features, chunk * CHUNK_ROWS, rows);
                        let grad_weight = MatrixMut::row_major(grad_weight, rows, in_features);
                        multiply(grad_weight, grad_output.transposed(), input, false);
                    },
                );
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.size;
        let product = Product { m: out_features, n: in_features, k: batch_size, parts: 1 };
        let tiled = TiledKernel {
            source: shader!("dense/grad_weight_tiled.wgsl", "dense/size.wgsl"),
            constants: self.size.constants(),
            operands: ACTIVATED,
            factors: [1, 0],
            result: 2,
            elements: self.size.weight_shape().elements(),
            quads: Quads {
                a: out_features.is_multiple_of(4),
                b: in_features.is_multiple_of(4),
                result: in_features.is_multiple_of(4),
            },
            prologue: self.prologue,
            line_sums: self.bias().map(|bias| bias.grad_bias()),
            column_moments: false,
            winners: None,
            epilogue: None,
            store: None,
        };
        let mut implementations = product.implementations(device, &tiled);
        let direct = shader!("dense/grad_weight_direct.wgsl", "dense/size.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(direct, self.size.constants(), ACTIVATED, tiled.elements);
        self.prologue.complete(&mut call, ACTIVATED);
        implementations.push(Loops::over(self.size.batch_size).direct(&call, device));
        let implementations = best_first(implementations);
        match self.bias() {
            Some(bias) => bias.complete(implementations, device),
            None => implementations,
        }
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let reads = reads_of_a(self.size.in_features);
        let op = DenseGradWeight { prologue: before.of_output()?, ..*self };
        // The bias's gradient comes after the prologue's operands.
        let is_free = self.prologue == Prologue::NONE && !self.with_bias;
        (operand == 1 && is_free).then(|| WithPrologue { op: Box::new(op), reads })
    }

    fn fuse_beside(&self, other: &dyn Op) -> Option<Beside> {
        if self.with_bias {
            return None;
        }
        let both = self.with_bias();
        both.bias()?.fused(other, both)
    }

    fn flops(&self) -> u64 {
        self.size.flops() + self.bias().map_or(0, |bias| bias.grad.flops())
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(Precision::sum_of_products(self.size.batch_size))
    }
}
