//! The gradient of a convolution's filters.

use super::cpu::{DIRECT, FilterOperands, FilterSums, Source, WINOGRAD, WinogradFilters, add_form};
use super::gpu::{self, FusedPass};
use super::winograd::AMPLIFICATION_OF_4X4;
use super::{ConvGeometry, OPERANDS};
use crate::device::DeviceProfile;
use crate::ops::bias::{BesideWeight, BiasGrad};
use crate::ops::gemm::{Product, Quads, TiledKernel, reads_of_a, slices};
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Beside, CpuForm, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::parts::Loops;
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the filters.
///
/// `grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c]`,
/// with `h = p*stride - padding + r*dilation`; terms outside the input are zero.
///
/// With the [bias's](BiasGrad) gradient, the sums of grad_output, which it reads anyway: `grad_bias[k] = sum over n,p,q of
/// grad_output[n,p,q,k]`.
///
/// # Shapes
/// input `[N,H,W,C]`, grad_output `[N,P,Q,K]` -> grad_filters `[K,R,S,C/groups]`, then activated `[N,P,Q,K]` if
/// there is a [`Prologue`], then grad_bias `[K]` if it is wanted; see [`ConvGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvGradFilters {
    /// The sizes.
    pub geometry: ConvGeometry,
    /// The function applied to each value of grad_output as it is read.
    pub prologue: Prologue,
    /// Whether the gradient of the bias is computed too.
    pub with_bias: bool,
}

/// The number of the operand grad_filters.
const GRAD_FILTERS: usize = 2;

impl ConvGradFilters {
    /// The gradient without a prologue.
    pub fn new(geometry: ConvGeometry) -> Self {
        ConvGradFilters { geometry, prologue: Prologue::NONE, with_bias: false }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        ConvGradFilters { prologue, ..self }
    }

    /// The same gradient, and the bias's.
    pub fn with_bias(self) -> Self {
        ConvGradFilters { with_bias: true, ..self }
    }

    /// The bias's gradient, if it is wanted, as an operation of its own.
    fn bias(&self) -> Option<BesideWeight> {
        let rows = self.geometry.batch_size * self.geometry.positions();
        let grad = BiasGrad::new(rows, self.geometry.out_channels).with_prologue(self.prologue);
        self.with_bias.then(|| BesideWeight::new(grad))
    }
}

impl ConvGradFilters {
    /// The definition of the gradient of weight `index`, from the values of the other operands.
    fn grad_at(&self, index: usize, input: impl Fn(usize) -> f64, grad_output: impl Fn(usize) -> f64) -> f64 {
        let geometry = &self.geometry;
        let [k, r, s, c] = geometry.filters_position(index);
        let channel = k / geometry.group_out_channels() * geometry.group_in_channels() + c;
        let mut sum = 0.0;
        for n in 0..geometry.batch_size {
            for p in 0..geometry.height.output {
                let Some(h) = geometry.height.input_at(p, r) else { continue };
                for q in 0..geometry.width.output {
                    let Some(w) = geometry.width.input_at(q, s) else { continue };
                    let window = (n * geometry.height.output + p) * geometry.width.output + q;
                    let pixel = (n * geometry.height.input + h) * geometry.width.input + w;
                    sum += grad_output(window * geometry.out_channels + k)
                        * input(pixel * geometry.in_channels + channel);
                }
            }
        }
        sum
    }

    /// The operands as the CPU's forms take them.
    fn on_cpu<'a>(&self, operands: &'a mut Operands<f32>) -> FilterOperands<'a> {
        let ([input, grad_output, grad_filters], more) = operands.split();
        let (prologue, channels) = (self.prologue, self.geometry.out_channels);
        FilterOperands {
            input: input.reals(),
            grad_output: Source { values: grad_output.reals(), channels, prologue, more },
            grad_filters: grad_filters.reals_mut(),
        }
    }

    fn bias_on_cpu(&self, operands: &mut Operands<f32>) {
        if let Some(bias) = self.bias() {
            let ([_, grad_output, _], more) = operands.split();
            bias.run_on_cpu(grad_output, more);
        }
    }

    fn direct(&self, device: &DeviceProfile) -> Implementation {
        let positions = self.geometry.batch_size * self.geometry.positions();
        let elements = self.geometry.filters_shape().elements();
        let slices = slices(1, positions, elements, device);
        let mut constants = self.geometry.constants();
        let slice_length = positions.div_ceil(slices);
        constants.extend([("SLICES", slices.into()), ("SLICE_K", slice_length.into())]);
        let source = shader!("conv/grad_filters_direct.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(source, constants, OPERANDS, slices * elements);
        self.prologue.complete(&mut call, OPERANDS);
        let calls = Loops::over(slice_length).launches(&call, device);
        let direct = Implementation::of_calls("direct", calls, Vec::new());
        direct.in_slices(GRAD_FILTERS, elements, slices, device)
    }
}

impl Op for ConvGradFilters {
    fn name(&self) -> &'static str {
        "conv2d.grad_filters"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", self.geometry.input_shape()),
            Operand::read("grad_output", self.geometry.output_shape()),
            Operand::write("grad_filters", self.geometry.filters_shape()),
        ];
        operands.extend(self.prologue.operand(self.geometry.output_shape()));
        operands.extend(self.bias().map(|bias| bias.operand()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([input, grad_output, grad_filters], more) = operands.split();
        if let Some(bias) = self.bias() {
            bias.define(grad_output, more);
        }
        let grad_output = self.prologue.define(grad_output.reals(), more);
        let (input, grad_output) = (input.reals(), &*grad_output);
        for (index, grad_filters) in grad_filters.reals_mut().iter_mut().enumerate() {
            *grad_filters = self.grad_at(index, |i| input[i], |i| grad_output[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let grad_output = |i| self.prologue.define_at(read(1, i), || read(OPERANDS, i));
        if let (Some(bias), Some(k)) =
            (self.bias(), index.checked_sub(self.geometry.filters_shape().elements()))
        {
            return Some(bias.grad.grad_at(k, grad_output));
        }
        Some(self.grad_at(index, |i| read(0, i), grad_output))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let direct = FilterSums::new(&self.geometry);
        let mut forms = vec![CpuForm::exact(DIRECT, move |operands| {
            direct.run(self.on_cpu(operands));
            self.bias_on_cpu(operands);
        })];
        if let Some(winograd) = WinogradFilters::new(&self.geometry) {
            let form = CpuForm::rounding(WINOGRAD, AMPLIFICATION_OF_4X4[1], move |operands| {
                winograd.run(self.on_cpu(operands));
                self.bias_on_cpu(operands);
            });
            add_form(&mut forms, form, winograd.pays());
        }
        forms
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let geometry = &self.geometry;
        let bias = self.bias().map(|bias| bias.grad_bias());
        let product = Product {
            m: geometry.group_out_channels(),
            n: geometry.taps(),
            k: geometry.batch_size * geometry.positions(),
            parts: geometry.groups,
        };
        let tiled = TiledKernel {
            source: shader!("conv/grad_filters_tiled.wgsl", "conv/geometry.wgsl"),
            constants: geometry.constants(),
            operands: OPERANDS,
            factors: [1, 0],
            result: GRAD_FILTERS,
            elements: geometry.filters_shape().elements(),
            quads: Quads {
                a: geometry.group_out_channels().is_multiple_of(4),
                b: geometry.group_in_channels().is_multiple_of(4),
                result: geometry.taps().is_multiple_of(4),
            },
            prologue: self.prologue,
            line_sums: bias,
            column_moments: false,
            winners: None,
            epilogue: None,
            store: None,
        };
        let direct = self.direct(device);
        let pass = FusedPass::GradFilters { prologue: self.prologue, bias };
        let ways = gpu::implementations(geometry, pass, &product, &tiled, direct, device);
        match self.bias() {
            Some(bias) => bias.complete(ways, device),
            None => ways,
        }
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        let reads = reads_of_a(self.geometry.taps());
        let op = ConvGradFilters { prologue: before.of_output()?, ..*self };
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
        self.geometry.flops() + self.bias().map_or(0, |bias| bias.grad.flops())
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(self.geometry.grad_filters_precision())
    }
}
