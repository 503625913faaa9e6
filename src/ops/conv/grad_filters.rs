//! The gradient of a convolution's filters.

use rayon::prelude::*;

use super::winograd::{Pass, with_winograd};
use super::{ConvGeometry, OPERANDS, grouped, patches, stem};
use crate::cpu::{Matrix, MatrixMut, add_in_order, multiply};
use crate::device::DeviceProfile;
use crate::ops::gemm::{Product, Quads, TiledKernel, in_slices, slices};
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the filters.
///
/// `grad_filters[k,r,s,c] = sum over n,p,q of grad_output[n,p,q,k] * input[n,h,w,c]`,
/// with `h = p*stride - padding + r*dilation`; terms outside the input are zero.
///
/// # Shapes
/// input `[N,H,W,C]`, grad_output `[N,P,Q,K]` -> grad_filters `[K,R,S,C/groups]`, then activated `[N,P,Q,K]` if
/// there is a [`Prologue`]; see [`ConvGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvGradFilters {
    /// The sizes.
    pub geometry: ConvGeometry,
    /// What happens to each value of grad_output as it is read.
    pub prologue: Prologue,
}

impl ConvGradFilters {
    /// The gradient for `grad_output` as it is.
    pub fn new(geometry: ConvGeometry) -> Self {
        ConvGradFilters { geometry, prologue: Prologue::NONE }
    }

    /// The same gradient with `prologue`.
    pub fn with_prologue(self, prologue: Prologue) -> Self {
        ConvGradFilters { prologue, ..self }
    }
}

/// Partial sums on the CPU: enough for any number of cores, and never one a core, so that the answer does
/// not depend on their number.
const MOST_PARTIAL_SUMS: usize = 32;

/// Elements that all partial sums take together, at most.
const PARTIAL_SUMS_ELEMENTS: usize = 8 << 20;

impl ConvGradFilters {
    fn direct(&self, device: &DeviceProfile) -> Implementation {
        let positions = self.geometry.batch_size * self.geometry.positions();
        let elements = self.geometry.filters_shape().elements();
        let slices = slices(1, positions, elements, device);
        let mut constants = self.geometry.constants();
        constants.extend([("SLICES", slices.into()), ("SLICE_K", positions.div_ceil(slices).into())]);
        let source = shader!("conv/grad_filters_direct.wgsl", "conv/geometry.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(source, constants, OPERANDS, slices * elements);
        self.prologue.complete(&mut call, OPERANDS);
        in_slices("direct", call, 2, elements, slices)
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
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let geometry = &self.geometry;
        let ([input, grad_output, grad_filters], more) = operands.split();
        let grad_output = self.prologue.define(grad_output.reals(), more);
        let (input, grad_filters) = (input.reals(), grad_filters.reals_mut());
        let [_, in_height, in_width, in_channels] =
            [0, 1, 2, 3].map(|axis| geometry.input_shape().size(axis));
        let (group_in, group_out) = (geometry.group_in_channels(), geometry.group_out_channels());
        let mut index = 0;
        for k in 0..geometry.out_channels {
            for r in 0..geometry.height.kernel {
                for s in 0..geometry.width.kernel {
                    for c in 0..group_in {
                        let channel = k / group_out * group_in + c;
                        let mut sum = 0.0;
                        for n in 0..geometry.batch_size {
                            for p in 0..geometry.height.output {
                                let Some(h) = geometry.height.input_at(p, r) else { continue };
                                for q in 0..geometry.width.output {
                                    let Some(w) = geometry.width.input_at(q, s) else { continue };
                                    let window = (n * geometry.height.output + p) * geometry.width.output + q;
                                    let pixel = (n * in_height + h) * in_width + w;
                                    sum += grad_output[window * geometry.out_channels + k]
                                        * input[pixel * in_channels + channel];
                                }
                            }
                        }
                        grad_filters[index] = sum;
                        index += 1;
                    }
                }
            }
        }
    }

    /// Each part of the positions sums its own gradient, strip by strip; the parts are added in order.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let geometry = &self.geometry;
        let ([input, grad_output, grad_filters], more) = operands.split();
        let (input, grad_output, grad_filters) =
            (input.reals(), grad_output.reals(), grad_filters.reals_mut());
        let (taps, out_channels) = (geometry.taps(), geometry.out_channels);
        let group_out = geometry.group_out_channels();
        let rows = patches::strip_rows(geometry);
        let positions = geometry.batch_size * geometry.positions();
        let strips = positions.div_ceil(rows);
        let parts = strips.min(MOST_PARTIAL_SUMS).min(PARTIAL_SUMS_ELEMENTS / grad_filters.len()).max(1);
        let strips_in_part = strips.div_ceil(parts);
        let mut sums = vec![0.0f32; strips.div_ceil(strips_in_part) * grad_filters.len()];
        sums.par_chunks_mut(grad_filters.len()).enumerate().for_each(|(part, sum)| {
            for strip in part * strips_in_part..strips.min((part + 1) * strips_in_part) {
                let first = strip * rows;
                let rows = rows.min(positions - first);
                let part = first * out_channels..(first + rows) * out_channels;
                self.prologue.run_on_cpu(grad_output, part, more, |grad_output| {
                    for group in 0..geometry.groups {
                        let grad_output =
                            Matrix::columns(grad_output, rows, out_channels, group * group_out, group_out);
                        let sum = &mut sum[group * group_out * taps..][..group_out * taps];
                        patches::with_patches(geometry, input, first, rows, group, |patches| {
                            multiply(
                                MatrixMut::row_major(sum, group_out, taps),
                                grad_output.transposed(),
                                Matrix::row_major(patches, rows, taps),
                                true,
                            );
                        });
                    }
                });
            }
        });
        add_in_order(grad_filters, &sums);
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let geometry = &self.geometry;
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
            result: 2,
            elements: geometry.filters_shape().elements(),
            quads: Quads {
                a: geometry.group_out_channels().is_multiple_of(4),
                b: geometry.group_in_channels().is_multiple_of(4),
                result: geometry.taps().is_multiple_of(4),
            },
            prologue: self.prologue,
            epilogue: None,
        };
        let mut implementations = Vec::from_iter(grouped::grad_filters(geometry, &self.prologue, device));
        implementations.extend(stem::grad_filters(geometry, &self.prologue, device));
        let pass = Pass::GradFilters(self.prologue);
        let products = product.implementations(device, &tiled);
        implementations.extend(with_winograd(products, &product, geometry, pass, device));
        implementations.push(self.direct(device));
        implementations
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(self.geometry.grad_filters_precision())
    }
}
