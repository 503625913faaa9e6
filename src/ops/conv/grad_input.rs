//! The gradient of a convolution's input.

use rayon::prelude::*;

use super::cpu::{
    Correlation, CorrelationOperands, DIRECT, PATCHES, Source, WINOGRAD, WinogradCorrelation, add_form,
    patches,
};
use super::gpu::{self, FusedPass};
use super::phases::Phases;
use super::winograd::AMPLIFICATION_OF_4X4;
use super::{ConvGeometry, OPERANDS};
use crate::cpu::{Matrix, MatrixMut, lanes, multiply, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::gemm::{Product, Quads, TiledKernel, reads_of_a};
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read, WithPrologue};
use crate::ops::parts::Loops;
use crate::ops::pool::{InputGrad, Store, UnpooledGrad};
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the input.
///
/// `grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c]`, over the windows p,q with `h =
/// p*stride - padding + r*dilation`: the same products as in the forward pass, each added to the gradient of the input
/// value that it contains.
///
/// # Shapes
/// filters `[K,R,S,C/groups]`, grad_output `[N,P,Q,K]` -> grad_input `[N,H,W,C]`, then activated `[N,P,Q,K]` if
/// there is a [`Prologue`]; see [`ConvGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvGradInput {
    /// The sizes.
    pub geometry: ConvGeometry,
    /// The function applied to each value of grad_output as it is read.
    pub prologue: Prologue,
}

impl ConvGradInput {
    /// The gradient without a prologue.
    pub fn new(geometry: ConvGeometry) -> Self {
        ConvGradInput { geometry, prologue: Prologue::NONE }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        ConvGradInput { prologue, ..self }
    }
}

impl ConvGradInput {
    /// Whether vectors of input channels would be mostly empty, but vectors of whole patches are not. With groups,
    /// patches are too short to be worth adding.
    fn suits_patches(&self) -> bool {
        let vectors = |values: usize| values.div_ceil(lanes());
        let window = self.geometry.height.kernel * self.geometry.width.kernel;
        self.geometry.groups == 1
            && window * vectors(self.geometry.group_in_channels()) > 2 * vectors(self.geometry.taps())
    }

    /// The operands of the forms that sum over windows.
    fn on_cpu<'a>(
        &self,
        operands: &'a mut Operands<f32>,
    ) -> CorrelationOperands<'a, impl Fn(&mut [f32]) + Sync + use<'a>> {
        let ([filters, grad_output, grad_input], more) = operands.split();
        let (prologue, channels) = (self.prologue, self.geometry.out_channels);
        CorrelationOperands {
            source: Source { values: grad_output.reals(), channels, prologue, more },
            filters: filters.reals(),
            result: grad_input.reals_mut(),
            finish: |_: &mut [f32]| (),
        }
    }

    /// Computes one image at a time: strips of `grad_output * filters`, whose patches are added at their places in the
    /// image.
    fn run_in_patches(&self, operands: &mut Operands<f32>) {
        let geometry = &self.geometry;
        let ([filters, grad_output, grad_input], more) = operands.split();
        let (filters, grad_output) = (filters.reals(), grad_output.reals());
        let (taps, out_channels) = (geometry.taps(), geometry.out_channels);
        let group_out = geometry.group_out_channels();
        let positions = geometry.positions();
        let strip_rows = patches::strip_rows(geometry).min(positions);
        let image_elements = geometry.height.input * geometry.width.input * geometry.in_channels;
        grad_input.reals_mut().par_chunks_mut(image_elements).enumerate().for_each(|(image, grad_input)| {
            grad_input.fill(0.0);
            for first in (0..positions).step_by(strip_rows) {
                let rows = strip_rows.min(positions - first);
                let start = (image * positions + first) * out_channels;
                self.prologue.run_on_cpu(
                    grad_output,
                    start..start + rows * out_channels,
                    more,
                    |grad_output| {
                        for group in 0..geometry.groups {
                            let grad_output = Matrix::columns(
                                grad_output,
                                rows,
                                out_channels,
                                group * group_out,
                                group_out,
                            );
                            let filters = &filters[group * group_out * taps..][..group_out * taps];
                            with_scratch(rows * taps, |patches| {
                                let filters = Matrix::row_major(filters, group_out, taps);
                                multiply(
                                    MatrixMut::row_major(patches, rows, taps),
                                    grad_output,
                                    filters,
                                    false,
                                );
                                patches::add_patches(geometry, patches, first, group, grad_input);
                            });
                        }
                    },
                );
            }
        });
    }
}

impl Op for ConvGradInput {
    fn name(&self) -> &'static str {
        "conv2d.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("filters", self.geometry.filters_shape()),
            Operand::read("grad_output", self.geometry.output_shape()),
            Operand::write("grad_input", self.geometry.input_shape()),
        ];
        operands.extend(self.prologue.operand(self.geometry.output_shape()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let geometry = &self.geometry;
        let ([filters, grad_output, grad_input], more) = operands.split();
        let grad_output = self.prologue.define(grad_output.reals(), more);
        let (filters, grad_output, grad_input) = (filters.reals(), &*grad_output, grad_input.reals_mut());
        let [_, in_height, in_width, in_channels] =
            [0, 1, 2, 3].map(|axis| geometry.input_shape().size(axis));
        let (group_in, group_out) = (geometry.group_in_channels(), geometry.group_out_channels());
        grad_input.fill(0.0);
        let mut index = 0;
        for n in 0..geometry.batch_size {
            for p in 0..geometry.height.output {
                for q in 0..geometry.width.output {
                    for k in 0..geometry.out_channels {
                        for r in 0..geometry.height.kernel {
                            let Some(h) = geometry.height.input_at(p, r) else { continue };
                            for s in 0..geometry.width.kernel {
                                let Some(w) = geometry.width.input_at(q, s) else { continue };
                                for c in 0..group_in {
                                    let channel = k / group_out * group_in + c;
                                    let pixel = (n * in_height + h) * in_width + w;
                                    let tap = (k * geometry.height.kernel + r) * geometry.width.kernel + s;
                                    grad_input[pixel * in_channels + channel] +=
                                        grad_output[index] * filters[tap * group_in + c];
                                }
                            }
                        }
                        index += 1;
                    }
                }
            }
        }
    }

    /// Gathers the products from the windows that contain the value, whereas [`Op::define`] scatters them.
    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let geometry = &self.geometry;
        let [n, h, w, channel] = geometry.input_position(index);
        let (group_in, group_out) = (geometry.group_in_channels(), geometry.group_out_channels());
        let (group, c) = (channel / group_in, channel % group_in);
        let grad_output = |i| self.prologue.define_at(read(1, i), || read(OPERANDS, i));
        let mut sum = 0.0;
        for (p, r) in geometry.height.meetings(h) {
            for (q, s) in geometry.width.meetings(w) {
                for k in group * group_out..(group + 1) * group_out {
                    let window = (n * geometry.height.output + p) * geometry.width.output + q;
                    let tap = (k * geometry.height.kernel + r) * geometry.width.kernel + s;
                    sum += grad_output(window * geometry.out_channels + k) * read(0, tap * group_in + c);
                }
            }
        }
        Some(sum)
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let direct = Correlation::grad_input(&self.geometry);
        let mut forms = vec![CpuForm::exact(DIRECT, move |operands| direct.run(self.on_cpu(operands)))];
        let patches = CpuForm::exact(PATCHES, |operands| self.run_in_patches(operands));
        add_form(&mut forms, patches, self.suits_patches());
        if let Some(winograd) = WinogradCorrelation::new(direct) {
            let form = CpuForm::rounding(WINOGRAD, AMPLIFICATION_OF_4X4[0], move |operands| {
                winograd.run(self.on_cpu(operands))
            });
            add_form(&mut forms, form, winograd.pays());
        }
        forms
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        self.ways(Store::AsItIs, device)
    }

    fn fuse_prologue(&self, operand: usize, before: Prologue) -> Option<WithPrologue> {
        // A value contributes to as many input positions as its window has.
        let window = self.geometry.height.kernel * self.geometry.width.kernel;
        let reads = window * reads_of_a(self.geometry.group_in_channels());
        let op = ConvGradInput { prologue: before.of_output()?, ..*self };
        (operand == 1 && self.prologue == Prologue::NONE).then(|| WithPrologue { op: Box::new(op), reads })
    }

    fn unpool(&self, operand: usize, next: &dyn Op) -> Option<Box<dyn Op>> {
        UnpooledGrad::fused(*self, operand, next)
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(self.geometry.grad_input_precision())
    }
}

impl InputGrad for ConvGradInput {
    const UNPOOLED: &'static str = "conv2d.grad_input_unpool";

    fn prologue(&self) -> Prologue {
        self.prologue
    }

    fn ways(&self, store: Store, device: &DeviceProfile) -> Vec<Implementation> {
        let geometry = &self.geometry;
        let (height, width) = (Phases::new(&geometry.height), Phases::new(&geometry.width));
        let product = Product {
            m: geometry.batch_size * height.positions * width.positions,
            n: geometry.group_in_channels(),
            k: height.most_taps * width.most_taps * geometry.group_out_channels(),
            parts: geometry.groups * height.count * width.count,
        };
        let mut constants = geometry.constants();
        constants.extend([
            ("PHASE_HEIGHT", height.positions.into()),
            ("PHASE_WIDTH", width.positions.into()),
            ("TAP_STEP_HEIGHT", height.tap_step.into()),
            ("TAP_STEP_WIDTH", width.tap_step.into()),
            ("TAP_INVERSE_HEIGHT", height.tap_inverse.into()),
            ("TAP_INVERSE_WIDTH", width.tap_inverse.into()),
        ]);
        let group_in_quads = geometry.group_in_channels().is_multiple_of(4);
        let tiled = TiledKernel {
            source: shader!("conv/grad_input_tiled.wgsl", "conv/geometry.wgsl"),
            constants,
            operands: OPERANDS,
            factors: [1, 0],
            result: 2,
            elements: geometry.input_shape().elements(),
            quads: Quads {
                a: geometry.group_out_channels().is_multiple_of(4),
                b: group_in_quads,
                result: group_in_quads,
            },
            prologue: self.prologue,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: None,
            store: Some(store),
        };
        let direct = shader!("conv/grad_input_direct.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(direct, geometry.constants(), OPERANDS, tiled.elements);
        self.prologue.complete(&mut call, OPERANDS);
        let loops = Loops {
            rows: geometry.height.kernel,
            columns: geometry.width.kernel,
            terms: geometry.group_out_channels(),
        };
        let direct = loops.direct(&call, device);
        let pass = FusedPass::GradInput { prologue: self.prologue, store };
        gpu::implementations(geometry, pass, &product, &tiled, direct, device)
    }
}
