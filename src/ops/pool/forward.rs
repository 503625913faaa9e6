//! The forward pass of a pool.

use rayon::prelude::*;

use super::cpu::Largest;
use super::whole;
use super::winners::{window_loops, winners};
use super::{PoolGeometry, PoolKind, complete_average, divisor, winner};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Constant, Implementation, KernelCall, Source, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::tensor::position;

/// Pooling.
///
/// Max: `output[n,p,q,c] = max over r,s of input[n,h,w,c]`, over positions inside the input;
/// average: `output[n,p,q,c] = sum over r,s of input[n,h,w,c] / taps`, terms outside the input are zero;
/// with `h = p*stride - padding + r*dilation`. A NaN is the maximum of its window. The taps that count in
/// an average are those within the padded input, which are all R*S of them but for a window that hangs over its end, or those
/// inside the input: see [`PoolKind`].
///
/// # Shapes
/// input `[N,H,W,C]` -> output `[N,P,Q,C]`; see [`PoolGeometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolForward {
    /// Maximum or average.
    pub kind: PoolKind,
    /// The sizes.
    pub geometry: PoolGeometry,
}

impl PoolForward {
    /// The definition of the value at `index`; `input` reads a value of the input.
    fn output_at(&self, index: usize, input: impl Fn(usize) -> f64) -> f64 {
        let geometry = &self.geometry;
        let PoolGeometry { batch_size, channels, height, width } = *geometry;
        let [n, p, q, c] = position([batch_size, height.output, width.output, channels], index);
        match self.kind {
            PoolKind::Max => input(winner(geometry, &input, [n, p, q, c])),
            PoolKind::Average | PoolKind::AverageInside => {
                let mut sum = 0.0;
                for r in 0..height.kernel {
                    let Some(h) = height.input_at(p, r) else { continue };
                    for s in 0..width.kernel {
                        let Some(w) = width.input_at(q, s) else { continue };
                        sum += input(geometry.input_index(n, h, w, c));
                    }
                }
                sum / divisor(geometry, self.kind, [p, q])
            }
        }
    }

    /// A launch with one invocation per output value, which binds the operands.
    fn elementwise(&self, source: Source, constants: Vec<(&'static str, Constant)>) -> KernelCall {
        KernelCall::elementwise(source, constants, 2, self.geometry.output_shape().elements())
    }

    /// The kernel for windows as large as the image, in which a workgroup shares the pixels of an image.
    fn whole(&self, device: &DeviceProfile) -> Option<Implementation> {
        let call = match self.kind {
            PoolKind::Max => whole::maximum(&self.geometry, shader!("pool/max_whole.wgsl"), 2, device),
            PoolKind::Average | PoolKind::AverageInside => {
                let source = shader!("pool/average_whole.wgsl", "sums/sliced.wgsl", "grid.wgsl");
                let constants = vec![("TAPS", self.geometry.taps().into())];
                whole::images(&self.geometry)
                    .and_then(|images| images.by_segment(source, constants, 2, device))
            }
        };
        call.map(|call| Implementation::of("whole", call).tailored())
    }

    /// The maximum in one launch; if windows are too large for that, the winners first, and then their values.
    fn max(&self, device: &DeviceProfile) -> Implementation {
        let mut calls = winners(&self.geometry, device);
        if calls.len() == 1 {
            let source =
                shader!("pool/max_forward.wgsl", "conv/geometry.wgsl", "float_bits.wgsl", "grid.wgsl");
            return Implementation::of("direct", self.elementwise(source, self.geometry.constants()));
        }
        let elements = self.geometry.output_shape().elements();
        let source = shader!("pool/max_of_winners.wgsl", "grid.wgsl");
        let mut values = self.elementwise(source, vec![("ELEMENTS", elements.into())]);
        values.bindings.push(Binding::Workspace(0));
        calls.push(values);
        Implementation::of_calls("direct", calls, vec![elements])
    }
}

impl Op for PoolForward {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool2d.forward",
            PoolKind::Average | PoolKind::AverageInside => "average_pool2d.forward",
        }
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", self.geometry.input_shape()),
            Operand::write("output", self.geometry.output_shape()),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, output] = operands.all();
        let input = input.reals();
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            *output = self.output_at(index, |i| input[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(index, |i| read(0, i)))
    }

    /// An image at a time; the taps of a window are taken in one after the other, all channels at once.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let geometry = &self.geometry;
            let [input, output] = operands.all();
            let (input, output) = (input.reals(), output.reals_mut());
            let channels = geometry.channels;
            let (in_elements, out_elements) =
                (input.len() / geometry.batch_size, output.len() / geometry.batch_size);
            let images = output.par_chunks_mut(out_elements).zip(input.par_chunks(in_elements));
            images.for_each(|(output, input)| match self.kind {
                PoolKind::Max => vectorized(Largest { geometry, input, output }),
                PoolKind::Average | PoolKind::AverageInside => vectorized(|| {
                    output.fill(0.0);
                    geometry.for_each_average(self.kind, |window, pixels, taps| {
                        let output = &mut output[window * channels..][..channels];
                        for pixel in pixels.iter() {
                            for (sum, value) in output.iter_mut().zip(&input[pixel * channels..]) {
                                *sum += value;
                            }
                        }
                        for sum in output {
                            *sum /= taps as f32;
                        }
                    });
                }),
            });
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let direct = match self.kind {
            PoolKind::Max => self.max(device),
            PoolKind::Average | PoolKind::AverageInside => {
                let source =
                    shader!("pool/average_forward.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
                let mut call = self.elementwise(source, self.geometry.constants());
                complete_average(&mut call, &self.geometry, self.kind);
                window_loops(&self.geometry).direct(&call, device)
            }
        };
        best_first(self.whole(device).into_iter().chain([direct]).collect())
    }

    /// One comparison or addition per tap.
    fn flops(&self) -> u64 {
        self.geometry.output_shape().elements() as u64 * self.geometry.taps() as u64
    }

    fn precision(&self) -> Precision {
        match self.kind {
            PoolKind::Max => Precision::EXACT,
            PoolKind::Average | PoolKind::AverageInside => self.geometry.average_precision(self.kind),
        }
    }
}
