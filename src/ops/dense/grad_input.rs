//! The gradient of a dense layer's input.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceProfile;
use crate::ops::gemm::Product;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// Gradient of the loss with respect to the input.
///
/// `grad_input[n,i] = sum over o of grad_output[n,o] * weight[o,i]`
///
/// # Shapes
/// weight `[O,I]`, grad_output `[N,O]` -> grad_input `[N,I]`; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseGradInput(pub DenseSize);

impl Op for DenseGradInput {
    fn name(&self) -> &'static str {
        "dense.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("weight", self.0.weight_shape()),
            Operand::read("grad_output", self.0.output_shape()),
            Operand::write("grad_input", self.0.input_shape()),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let [weight, grad_output, grad_input] = operands.all();
        let (weight, grad_output, grad_input) = (weight.reals(), grad_output.reals(), grad_input.reals_mut());
        for n in 0..batch_size {
            for i in 0..in_features {
                grad_input[n * in_features + i] = (0..out_features)
                    .map(|o| grad_output[n * out_features + o] * weight[o * in_features + i])
                    .sum();
            }
        }
    }

    /// A few samples at a time.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let DenseSize { in_features, out_features, .. } = self.0;
        let [weight, grad_output, grad_input] = operands.all();
        let weight = Matrix::row_major(weight.reals(), out_features, in_features);
        let grad_outputs = grad_output.reals().par_chunks(CHUNK_ROWS * out_features);
        grad_input.reals_mut().par_chunks_mut(CHUNK_ROWS * in_features).zip(grad_outputs).for_each(
            |(grad_input, grad_output)| {
                let rows = grad_input.len() / in_features;
                let grad_input = MatrixMut::row_major(grad_input, rows, in_features);
                multiply(grad_input, Matrix::row_major(grad_output, rows, out_features), weight, false);
            },
        );
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let product = Product { m: batch_size, n: in_features, k: out_features, parts: 1 };
        let constants = self.0.constants();
        let tiled = shader!("dense/grad_input_tiled.wgsl", "dense/size.wgsl");
        let mut implementations = product.split_implementations(device, &tiled, &constants, 3);
        let direct = shader!("dense/grad_input_direct.wgsl", "dense/size.wgsl", "grid.wgsl");
        let elements = self.0.input_shape().elements();
        implementations
            .push(Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, elements)));
        implementations
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(self.0.out_features)
    }
}
