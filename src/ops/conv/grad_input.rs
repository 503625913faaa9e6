//! The gradient of a convolution's input.

use rayon::prelude::*;

use super::{ConvGeometry, patches};
use crate::cpu::{Matrix, MatrixMut, multiply, with_scratch};
use crate::device::DeviceProfile;
use crate::ops::gemm::Product;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};

/// Gradient of the loss with respect to the input.
///
/// `grad_input[n,h,w,c] = sum over r,s,k of grad_output[n,p,q,k] * filters[k,r,s,c]`,
/// over the windows p,q with `h = p*stride - padding + r*dilation`: the same products as in the forward
/// pass, each handed back to the input value that it was made from.
///
/// # Shapes
/// filters `[K,R,S,C/groups]`, grad_output `[N,P,Q,K]` -> grad_input `[N,H,W,C]`; see [`ConvGeometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGradInput(pub ConvGeometry);

impl Op for ConvGradInput {
    fn name(&self) -> &'static str {
        "conv2d.grad_input"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("filters", self.0.filters_shape()),
            Operand::read("grad_output", self.0.output_shape()),
            Operand::write("grad_input", self.0.input_shape()),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let geometry = &self.0;
        let [filters, grad_output, grad_input] = operands.all();
        let (filters, grad_output, grad_input) =
            (filters.reals(), grad_output.reals(), grad_input.reals_mut());
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

    /// An image at a time: strips of `grad_output * filters`, added back where their patches came from.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let geometry = &self.0;
        let [filters, grad_output, grad_input] = operands.all();
        let (filters, grad_output) = (filters.reals(), grad_output.reals());
        let (taps, out_channels) = (geometry.taps(), geometry.out_channels);
        let group_out = geometry.group_out_channels();
        let positions = geometry.positions();
        let strip_rows = patches::strip_rows(geometry).min(positions);
        let image_elements = geometry.input_shape().elements() / geometry.batch_size;
        grad_input.reals_mut().par_chunks_mut(image_elements).enumerate().for_each(|(image, grad_input)| {
            grad_input.fill(0.0);
            let grad_output = &grad_output[image * positions * out_channels..][..positions * out_channels];
            for (strip, grad_output) in grad_output.chunks(strip_rows * out_channels).enumerate() {
                let rows = grad_output.len() / out_channels;
                for group in 0..geometry.groups {
                    let grad_output =
                        Matrix::columns(grad_output, rows, out_channels, group * group_out, group_out);
                    let filters = &filters[group * group_out * taps..][..group_out * taps];
                    with_scratch(rows * taps, |patches| {
                        let product = MatrixMut::row_major(patches, rows, taps);
                        multiply(product, grad_output, Matrix::row_major(filters, group_out, taps), false);
                        patches::add_patches(geometry, patches, strip * strip_rows, group, grad_input);
                    });
                }
            }
        });
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let geometry = &self.0;
        let product = Product {
            m: geometry.batch_size * geometry.height.input * geometry.width.input,
            n: geometry.group_in_channels(),
            k: geometry.height.kernel * geometry.width.kernel * geometry.group_out_channels(),
            parts: geometry.groups,
        };
        let constants = geometry.constants();
        let tiled = shader!("conv/grad_input_tiled.wgsl", "conv/geometry.wgsl");
        let mut implementations = product.implementations(device, &tiled, &constants, 3);
        let direct = shader!("conv/grad_input_direct.wgsl", "conv/geometry.wgsl", "grid.wgsl");
        let elements = geometry.input_shape().elements();
        implementations
            .push(Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, elements)));
        implementations
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }

    fn precision(&self) -> Precision {
        self.0.grad_input_precision()
    }
}
