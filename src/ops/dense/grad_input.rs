//! The gradient of a dense layer's input.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceProfile;
use crate::ops::gemm::{Product, Quads, TiledKernel, reads_of_a};
use crate::ops::kernel::{Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::parts::Loops;
use crate::ops::pool::{InputGrad, Store, UnpooledGrad};
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the input.
///
/// `grad_input[n,i] = sum over o of grad_output[n,o] * weight[o,i]`
///
/// # Shapes
/// weight `[O,I]`, grad_output `[N,O]` -> grad_input `[N,I]`, then activated
/// `[N,O]` if there is a [`Prologue`]; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseGradInput {
    /// The sizes.
    pub size: DenseSize,
    /// The function applied to each value of grad_output as it is read.
    pub prologue: Prologue,
}

/// The number of `activated` among the operands: it comes after those that every gradient has.
const ACTIVATED: usize = 3;

impl DenseGradInput {
    /// The gradient without a prologue.
    pub fn new(size: DenseSize) -> Self {
        DenseGradInput { size, prologue: Prologue::NONE }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        DenseGradInput { prologue, ..self }
    }

    /// The definition of the gradient of input `index`, from the values of the other operands.
    fn grad_at(
        &self,
        index: usize,
        weight: impl Fn(usize) -> f64,
        grad_output: impl Fn(usize) -> f64,
    ) -> f64 {
        let DenseSize { in_features, out_features, .. } = self.size;
        let (n, i) = (index / in_features, index % in_features);
        (0..out_features).map(|o| grad_output(n * out_features + o) * weight(o * in_features + i)).sum()
    }
}

impl Op for DenseGradInput {
    fn name(&self) -> &'static str {
        "dense.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("weight", self.size.weight_shape()),
            Operand::read("grad_output", self.size.output_shape()),
            Operand::write("grad_input", self.size.input_shape()),
        ];
        operands.extend(self.prologue.operand(self.size.output_shape()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([weight, grad_output, grad_input], more) = operands.split();
        let grad_output = self.prologue.define(grad_output.reals(), more);
        let (weight, grad_output) = (weight.reals(), &*grad_output);
        for (index, grad_input) in grad_input.reals_mut().iter_mut().enumerate() {
            *grad_input = self.grad_at(index, |i| weight[i], |i| grad_output[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let grad_output = |i| self.prologue.define_at(read(1, i), || read(ACTIVATED, i));
        Some(self.grad_at(index, |i| read(0, i), grad_output))
    }

    /// A few samples at a time.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let DenseSize { in_features, out_features, .. } = self.size;
            let ([weight, grad_output, grad_input], more) = operands.split();
            let (grad_output, grad_input) = (grad_output.reals(), grad_input.reals_mut());
            let weight = Matrix::row_major(weight.reals(), out_features, in_features);
            grad_input.par_chunks_mut(CHUNK_ROWS * in_features).enumerate().for_each(
                |(chunk, grad_input)| {
                    let (first, rows) = (chunk * CHUNK_ROWS, grad_input.len() / in_features);
                    let part = first * out_features..(first + rows) * out_features;
                    self.prologue.run_on_cpu(grad_output, part, more, |grad_output| {
                        let grad_input = MatrixMut::row_major(grad_input, rows, in_features);
                        multiply(
                            grad_input,
                            Matrix::row_major(grad_output, rows, out_features),
                            weight,
                            false,
                        );
                    });
                },
            );
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        self.ways(Store::AsItIs, device)
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let reads = reads_of_a(self.size.in_features);
        let op = DenseGradInput { prologue: before.of_output()?, ..*self };
        (operand == 1 && self.prologue == Prologue::NONE).then(|| WithPrologue { op: Box::new(op), reads })
    }

    fn unpool(&self, operand: usize, next: &dyn Op) -> Option<Box<dyn Op>> {
        UnpooledGrad::fused(*self, operand, next)
    }

    fn flops(&self) -> u64 {
        self.size.flops()
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(Precision::sum_of_products(self.size.out_features))
    }
}

impl InputGrad for DenseGradInput {
    const UNPOOLED: &'static str = "dense.grad_input_unpool";

    fn prologue(&self) -> Prologue {
        self.prologue
    }

    fn ways(&self, store: Store, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.size;
        let product = Product { m: batch_size, n: in_features, k: out_features, parts: 1 };
        let tiled = TiledKernel {
            source: shader!("dense/grad_input_tiled.wgsl", "dense/size.wgsl"),
            constants: self.size.constants(),
            operands: ACTIVATED,
            factors: [1, 0],
            result: 2,
            elements: self.size.input_shape().elements(),
            quads: Quads {
                a: out_features.is_multiple_of(4),
                b: in_features.is_multiple_of(4),
                result: in_features.is_multiple_of(4) && store.takes_quads(),
            },
            prologue: self.prologue,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: None,
            store: Some(store),
        };
        let mut implementations = product.implementations(device, &tiled);
        let direct = shader!("dense/grad_input_direct.wgsl", "dense/size.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(direct, self.size.constants(), ACTIVATED, tiled.elements);
        self.prologue.complete(&mut call, ACTIVATED);
        implementations.push(Loops::over(self.size.out_features).direct(&call, device));
        best_first(implementations)
    }
}
