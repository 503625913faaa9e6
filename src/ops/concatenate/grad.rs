//! The gradient of one of the tensors side by side.

use rayon::prelude::*;

use super::chunk_rows;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Gradient of the loss with respect to one of the tensors of a [`Concatenate`](super::Concatenate).
///
/// `grad_input[row,k] = grad_output[row,first+k]`
///
/// # Shapes
/// grad_output `[rows,all]` -> grad_input `[rows,K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcatenateGrad {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// Number of channels of all tensors together.
    pub all: usize,
    /// Number of channels of the tensors before this one.
    pub first: usize,
    /// K: number of channels of this tensor.
    pub channels: usize,
}

impl ConcatenateGrad {
    /// The index in grad_output of the gradient at `index`.
    fn place(&self, index: usize) -> usize {
        index / self.channels * self.all + self.first + index % self.channels
    }
}

impl Op for ConcatenateGrad {
    fn name(&self) -> &'static str {
        "concatenate.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("grad_output", [self.rows, self.all]),
            Operand::write("grad_input", [self.rows, self.channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [grad_output, grad_input] = operands.all();
        for (index, grad_input) in grad_input.reals_mut().iter_mut().enumerate() {
            *grad_input = grad_output.reals()[self.place(index)];
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(read(0, self.place(index)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [grad_output, grad_input] = operands.all();
            let rows = chunk_rows(self.all);
            let chunks = grad_output.reals().par_chunks(rows * self.all);
            grad_input.reals_mut().par_chunks_mut(rows * self.channels).zip(chunks).for_each(
                |(grad_input, grad_output)| {
                    let rows = grad_output.chunks_exact(self.all);
                    for (grad_input, grad_output) in grad_input.chunks_exact_mut(self.channels).zip(rows) {
                        grad_input.copy_from_slice(&grad_output[self.first..][..self.channels]);
                    }
                },
            );
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let elements = self.rows * self.channels;
        let constants = vec![
            ("ELEMENTS", elements.into()),
            ("CHANNELS", self.channels.into()),
            ("FIRST_CHANNEL", self.first.into()),
            ("ALL_CHANNELS", self.all.into()),
        ];
        let direct = shader!("concatenate/grad_input.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 2, elements))]
    }

    /// None: copying is not floating-point arithmetic.
    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}
