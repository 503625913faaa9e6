//! The gradient of a bias.

use crate::cpu::add_rows;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, shader};
use crate::ops::op::{CpuForm, HostBuffer, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::prologue::Prologue;
use crate::ops::sums::{SegmentSums, SumKernel};

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

impl BiasGrad {
    /// The gradient without a prologue.
    pub fn new(rows: usize, channels: usize) -> Self {
        BiasGrad { rows, channels, prologue: Prologue::NONE }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        BiasGrad { prologue, ..self }
    }

    fn sums(&self) -> SegmentSums {
        SegmentSums { segments: 1, rows: self.rows, channels: self.channels }
    }

    /// The definition of the gradient of bias `k`.
    pub(in crate::ops) fn grad_at(&self, k: usize, grad_output: impl Fn(usize) -> f64) -> f64 {
        self.sums().terms(k).map(grad_output).sum()
    }
}

impl BiasGrad {
    /// The definition; `more` are the prologue's operands.
    pub(super) fn define_from(
        &self,
        grad_output: &HostBuffer<f64>,
        grad_bias: &mut HostBuffer<f64>,
        more: &[HostBuffer<f64>],
    ) {
        let grad_output = self.prologue.define(grad_output.reals(), more);
        for (k, grad_bias) in grad_bias.reals_mut().iter_mut().enumerate() {
            *grad_bias = self.grad_at(k, |i| grad_output[i]);
        }
    }

    /// The CPU's form; `more` are the prologue's operands.
    pub(super) fn run_on_cpu(
        &self,
        grad_output: &HostBuffer<f32>,
        grad_bias: &mut HostBuffer<f32>,
        more: &[HostBuffer<f32>],
    ) {
        self.sums().run_on_cpu(grad_bias.reals_mut(), |sums, part| {
            self.prologue
                .run_on_cpu(grad_output.reals(), part, more, |grad_output| add_rows(sums, grad_output));
        });
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
        self.define_from(grad_output, grad_bias, more);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.grad_at(index, |i| self.prologue.define_at(read(0, i), || read(ACTIVATED, i))))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([grad_output, grad_bias], more) = operands.split();
            self.run_on_cpu(grad_output, grad_bias, more);
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let kernel =
            SumKernel { source: shader!("bias/grad.wgsl"), constants: Vec::new(), operands: 2, result: 1 };
        self.sums().implementations(kernel, |call| self.prologue.complete(call, ACTIVATED), device)
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let reads = 1;
        let op = BiasGrad { prologue: before.of_output()?, ..*self };
        (operand == 0 && self.prologue == Prologue::NONE).then(|| WithPrologue { op: Box::new(op), reads })
    }

    fn flops(&self) -> u64 {
        self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(Precision::sum_of_products(self.rows))
    }
}
