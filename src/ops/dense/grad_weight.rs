//! The gradient of a dense layer's weight.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceProfile;
use crate::ops::gemm::Product;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// Gradient of the loss with respect to the weight.
///
/// `grad_weight[o,i] = sum over n of grad_output[n,o] * input[n,i]`
///
/// # Shapes
/// input `[N,I]`, grad_output `[N,O]` -> grad_weight `[O,I]`; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseGradWeight(pub DenseSize);

impl Op for DenseGradWeight {
    fn name(&self) -> &'static str {
        "dense.grad_weight"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.0.input_shape()),
            Operand::read("grad_output", self.0.output_shape()),
            Operand::write("grad_weight", self.0.weight_shape()),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let [input, grad_output, grad_weight] = operands.all();
        let (input, grad_output, grad_weight) = (input.reals(), grad_output.reals(), grad_weight.reals_mut());
        for o in 0..out_features {
            for i in 0..in_features {
                grad_weight[o * in_features + i] = (0..batch_size)
                    .map(|n| grad_output[n * out_features + o] * input[n * in_features + i])
                    .sum();
            }
        }
    }

    /// A few rows of the weight at a time.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let [input, grad_output, grad_weight] = operands.all();
        let grad_output = grad_output.reals();
        let input = Matrix::row_major(input.reals(), batch_size, in_features);
        grad_weight.reals_mut().par_chunks_mut(CHUNK_ROWS * in_features).enumerate().for_each(
            |(chunk, grad_weight)| {
                let rows = grad_weight.len() / in_features;
                let grad_output =
                    Matrix::columns(grad_output, batch_size, out_features, chunk * CHUNK_ROWS, rows);
                let grad_weight = MatrixMut::row_major(grad_weight, rows, in_features);
                multiply(grad_weight, grad_output.transposed(), input, false);
            },
        );
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let product = Product { m: out_features, n: in_features, k: batch_size, parts: 1 };
        let constants = self.0.constants();
        let tiled = shader!("dense/grad_weight_tiled.wgsl", "dense/size.wgsl");
        let mut implementations = product.split_implementations(device, &tiled, &constants, 3);
        let direct = shader!("dense/grad_weight_direct.wgsl", "dense/size.wgsl", "grid.wgsl");
        let elements = self.0.weight_shape().elements();
        implementations
            .push(Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, elements)));
        implementations
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(self.0.batch_size)
    }
}
