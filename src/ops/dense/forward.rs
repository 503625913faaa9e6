//! The forward pass of a dense layer.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::multiply_by_transpose;
use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::gemm::{Product, Quads, TiledKernel};
use crate::ops::kernel::{Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::parts::Loops;
use crate::ops::prologue::Prologue;

/// A dense layer, with a bias and an activation if the epilogue has them.
///
/// `output[n,o] = activation(bias[o] + sum over i of input[n,i] * weight[o,i])`
///
/// # Shapes
/// input `[N,I]`, weight `[O,I]` -> output `[N,O]`, then what the [`Epilogue`] reads; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseForward {
    /// The sizes.
    pub size: DenseSize,
    /// The function applied to each value before it is stored, [by channel](Epilogue::by_channel).
    pub epilogue: Epilogue,
}

/// Operands of every dense layer; those of the epilogue come after them.
const OPERANDS: usize = 3;

impl DenseForward {
    /// The product without an epilogue.
    pub fn new(size: DenseSize) -> Self {
        DenseForward { size, epilogue: Epilogue::NONE }
    }

    /// The same layer with `epilogue`.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Self {
        DenseForward { epilogue, ..self }
    }

    /// The definition of output `index`, from the values of the other operands.
    fn output_at(
        &self,
        index: usize,
        input: impl Fn(usize) -> f64,
        weight: impl Fn(usize) -> f64,
        more: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let DenseSize { in_features, out_features, .. } = self.size;
        let (n, o) = (index / out_features, index % out_features);
        let products = (0..in_features).map(|i| input(n * in_features + i) * weight(o * in_features + i));
        self.epilogue.define(products.sum(), index, out_features, more)
    }
}

impl Op for DenseForward {
    fn name(&self) -> &'static str {
        "dense.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", self.size.input_shape()),
            Operand::read("weight", self.size.weight_shape()),
            Operand::write("output", self.size.output_shape()),
        ];
        operands.extend(self.epilogue.operands(self.size.output_shape()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([input, weight, output], more) = operands.split();
        let (input, weight) = (input.reals(), weight.reals());
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            *output = self.output_at(index, |i| input[i], |i| weight[i], |number, i| more[number].reals()[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(index, |i| read(0, i), |i| read(1, i), |number, i| read(OPERANDS + number, i)))
    }

    /// A few samples at a time.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let DenseSize { in_features, out_features, .. } = self.size;
            let ([input, weight, output], more) = operands.split();
            let inputs = input.reals().par_chunks(CHUNK_ROWS * in_features);
            output.reals_mut().par_chunks_mut(CHUNK_ROWS * out_features).zip(inputs).for_each(
                |(output, input)| {
                    multiply_by_transpose(output, input, weight.reals(), in_features);
                    self.epilogue.run_on_cpu(output, more);
                },
            );
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.size;
        let product = Product { m: batch_size, n: out_features, k: in_features, parts: 1 };
        let tiled = TiledKernel {
            source: shader!("dense/forward_tiled.wgsl", "dense/size.wgsl"),
            constants: self.size.constants(),
            operands: OPERANDS,
            factors: [0, 1],
            result: 2,
            elements: self.size.output_shape().elements(),
            quads: Quads {
                a: in_features.is_multiple_of(4),
                b: in_features.is_multiple_of(4),
                result: out_features.is_multiple_of(4),
            },
            prologue: Prologue::NONE,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: Some(self.epilogue),
            store: None,
        };
        let mut implementations = product.implementations(device, &tiled);
        let direct = shader!("dense/forward_direct.wgsl", "dense/size.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(direct, self.size.constants(), OPERANDS, tiled.elements);
        self.epilogue.complete(&mut call, OPERANDS);
        implementations.push(Loops::over(self.size.in_features).direct(&call, device));
        best_first(implementations)
    }

    fn fuse_epilogue(&self, _: usize, next: Epilogue) -> Option<Box<dyn Op>> {
        Some(Box::new(DenseForward { epilogue: self.epilogue.then(next)?.by_channel()?, ..*self }))
    }

    fn flops(&self) -> u64 {
        self.size.flops()
    }

    fn precision(&self) -> Precision {
        self.epilogue.precision(Precision::sum_of_products(self.size.in_features))
    }
}
