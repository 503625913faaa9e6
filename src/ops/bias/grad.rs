//! The gradient of a bias.

use rayon::prelude::*;

use crate::cpu::{add_in_order, add_rows, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::gemm::in_slices;
use crate::ops::kernel::{Binding, Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::parts::Loops;
use crate::ops::prologue::Prologue;
use crate::ops::rows::{INVOCATIONS, RowSlices, chunk_rows};

/// Gradient of the loss with respect to the bias.
///
/// `grad_bias[k] = sum over rows of grad_output[row,k]`
///
/// # Shapes
/// grad_output `[rows,K]` -> grad_bias `[K]`, then activated `[rows,K]` if there is a [`Prologue`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BiasGrad {
    /// Number of pixels in a batch of images, or of samples of a dense layer.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
    /// The function applied to each value of grad_output as it is read.
    pub prologue: Prologue,
}

/// The number of `activated` among the operands.
const ACTIVATED: usize = 2;

/// Number of workgroups that keep a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 256;

impl BiasGrad {
    /// The gradient without a prologue.
    pub fn new(rows: usize, channels: usize) -> Self {
        BiasGrad { rows, channels, prologue: Prologue::NONE }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        BiasGrad { prologue, ..self }
    }

    /// The definition of the gradient of bias `k`.
    fn grad_at(&self, k: usize, grad_output: impl Fn(usize) -> f64) -> f64 {
        (0..self.rows).map(|row| grad_output(row * self.channels + k)).sum()
    }

    /// The implementation in which workgroups sum slices of the rows, and a second pass adds the slices.
    fn sliced(&self, device: &DeviceProfile) -> Option<Implementation> {
        let BiasGrad { rows, channels, .. } = *self;
        let RowSlices { width, blocks, slices } = RowSlices::new(rows, channels, ENOUGH_WORKGROUPS, device)?;
        let source = shader!("bias/grad_sliced.wgsl", "grid.wgsl");
        let source = source.with_sizes(&[("INVOCATIONS", INVOCATIONS as u32)]);
        let constants = vec![
            ("ROWS", rows.into()),
            ("CHANNELS", channels.into()),
            ("SLICES", slices.into()),
            ("SLICE_ROWS", rows.div_ceil(slices).into()),
            ("WIDTH", width.into()),
        ];
        let mut call = KernelCall::new(source, constants, Binding::operands(2), blocks * slices);
        self.prologue.complete(&mut call, ACTIVATED);
        Some(in_slices("sliced", vec![call], 1, channels, slices).tailored())
    }
}

impl Op for BiasGrad {
    fn name(&self) -> &'static str {
        "bias.grad"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("grad_output", [self.rows, self.channels]),
            Operand::write("grad_bias", [self.channels]),
        ];
        operands.extend(self.prologue.operand([self.rows, self.channels]));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([grad_output, grad_bias], more) = operands.split();
        let grad_output = self.prologue.define(grad_output.reals(), more);
        for (k, grad_bias) in grad_bias.reals_mut().iter_mut().enumerate() {
            *grad_bias = self.grad_at(k, |i| grad_output[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, |i| self.prologue.define_at(read(0, i), || read(ACTIVATED, i))))
    }

    /// Each chunk of rows is summed on its own; the chunks are added in order.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([grad_output, grad_bias], more) = operands.split();
            let (grad_output, grad_bias) = (grad_output.reals(), grad_bias.reals_mut());
            let rows = chunk_rows(self.channels);
            with_scratch(self.rows.div_ceil(rows) * self.channels, |sums| {
                sums.par_chunks_mut(self.channels).enumerate().for_each(|(chunk, sums)| {
                    sums.fill(0.0);
                    let first = chunk * rows;
                    let part = first * self.channels..self.rows.min(first + rows) * self.channels;
                    self.prologue.run_on_cpu(grad_output, part, more, |grad_output| {
                        add_rows(sums, grad_output);
                    });
                });
                add_in_order(grad_bias, sums);
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("CHANNELS", self.channels.into())];
        let direct = shader!("bias/grad_direct.wgsl", "part.wgsl", "grid.wgsl");
        let mut direct = KernelCall::elementwise(direct, constants, 2, self.channels);
        self.prologue.complete(&mut direct, ACTIVATED);
        let direct = Loops::over(self.rows).direct(&direct, device);
        best_first(self.sliced(device).into_iter().chain([direct]).collect())
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let reads = 1;
        let op = BiasGrad { prologue: before, ..*self };
        (operand == 0 && self.prologue == Prologue::NONE).then(|| WithPrologue { op: Box::new(op), reads })
    }

    fn flops(&self) -> u64 {
        self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(Precision::sum_of_products(self.rows))
    }
}
