//! The forward pass of a dense layer.

use rayon::prelude::*;

use super::{CHUNK_ROWS, DenseSize};
use crate::cpu::{Matrix, MatrixMut, multiply};
use crate::device::DeviceProfile;
use crate::ops::gemm::Product;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// A dense layer.
///
/// `output[n,o] = sum over i of input[n,i] * weight[o,i]`
///
/// # Shapes
/// input `[N,I]`, weight `[O,I]` -> output `[N,O]`; see [`DenseSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseForward(pub DenseSize);

impl Op for DenseForward {
    fn name(&self) -> &'static str {
        "dense.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.0.input_shape()),
            Operand::read("weight", self.0.weight_shape()),
            Operand::write("output", self.0.output_shape()),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let [input, weight, output] = operands.all();
        let (input, weight, output) = (input.reals(), weight.reals(), output.reals_mut());
        for n in 0..batch_size {
            for o in 0..out_features {
                output[n * out_features + o] =
                    (0..in_features).map(|i| input[n * in_features + i] * weight[o * in_features + i]).sum();
            }
        }
    }

    /// A few samples at a time.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let DenseSize { in_features, out_features, .. } = self.0;
        let [input, weight, output] = operands.all();
        let weight = Matrix::row_major(weight.reals(), out_features, in_features);
        let inputs = input.reals().par_chunks(CHUNK_ROWS * in_features);
        output.reals_mut().par_chunks_mut(CHUNK_ROWS * out_features).zip(inputs).for_each(
            |(output, input)| {
                let rows = output.len() / out_features;
                let output = MatrixMut::row_major(output, rows, out_features);
                multiply(output, Matrix::row_major(input, rows, in_features), weight.transposed(), false);
            },
        );
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let DenseSize { batch_size, in_features, out_features } = self.0;
        let product = Product { m: batch_size, n: out_features, k: in_features, parts: 1 };
        let constants = self.0.constants();
        let tiled = shader!("dense/forward_tiled.wgsl", "dense/size.wgsl");
        let mut implementations = product.split_implementations(device, &tiled, &constants, 3);
        let direct = shader!("dense/forward_direct.wgsl", "dense/size.wgsl", "grid.wgsl");
        let elements = self.0.output_shape().elements();
        implementations
            .push(Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, elements)));
        implementations
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(self.0.in_features)
    }
}
