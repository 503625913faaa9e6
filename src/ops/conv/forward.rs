//! The forward pass of a convolution.

use std::any::Any;

use super::cpu::{Correlation, CorrelationOperands, DIRECT, Source, WINOGRAD, WinogradCorrelation, add_form};
use super::gpu::{self, FusedPass};
use super::winograd::AMPLIFICATION_OF_4X4;
use super::{ConvBatchNorm, ConvGeometry, ConvMaxPool, OPERANDS};
use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::gemm::{Product, Quads, TiledKernel};
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::norm::{BatchNormTrain, train};
use crate::ops::op::{Beside, CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::parts::Loops;
use crate::ops::pool::PoolForward;
use crate::ops::prologue::Prologue;

/// Convolution, with a bias and an activation if the epilogue has them.
///
/// `output[n,p,q,k] = activation(bias[k] + sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c])`,
/// with `h = p*stride - padding + r*dilation`; terms outside the input are zero.
///
/// # Shapes
/// input `[N,H,W,C]`, filters `[K,R,S,C/groups]` -> output `[N,P,Q,K]`, then what the [`Epilogue`] reads; see
/// [`ConvGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvForward {
    /// The sizes.
    pub geometry: ConvGeometry,
    /// The function applied to each value before it is stored, [by channel](Epilogue::by_channel).
    pub epilogue: Epilogue,
}

impl ConvForward {
    /// The convolution without an epilogue.
    pub fn new(geometry: ConvGeometry) -> Self {
        ConvForward { geometry, epilogue: Epilogue::NONE }
    }

    /// The same convolution with `epilogue`.
    pub fn with_epilogue(self, epilogue: Epilogue) -> Self {
        ConvForward { epilogue, ..self }
    }

    /// The definition of output `index`, from the values of the other operands.
    fn output_at(
        &self,
        index: usize,
        input: impl Fn(usize) -> f64,
        filters: impl Fn(usize) -> f64,
        more: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let geometry = &self.geometry;
        let [n, p, q, k] = geometry.output_position(index);
        let (group_in, group_out) = (geometry.group_in_channels(), geometry.group_out_channels());
        let mut sum = 0.0;
        for r in 0..geometry.height.kernel {
            let Some(h) = geometry.height.input_at(p, r) else { continue };
            for s in 0..geometry.width.kernel {
                let Some(w) = geometry.width.input_at(q, s) else { continue };
                let pixel = (n * geometry.height.input + h) * geometry.width.input + w;
                let tap = (k * geometry.height.kernel + r) * geometry.width.kernel + s;
                for c in 0..group_in {
                    let channel = k / group_out * group_in + c;
                    sum += input(pixel * geometry.in_channels + channel) * filters(tap * group_in + c);
                }
            }
        }
        self.epilogue.define(sum, index, geometry.out_channels, more)
    }

    /// The convolution as a matrix product.
    pub(super) fn product(&self) -> Product {
        let geometry = &self.geometry;
        Product {
            m: geometry.batch_size * geometry.positions(),
            n: geometry.group_out_channels(),
            k: geometry.taps(),
            parts: geometry.groups,
        }
    }

    /// The kernel of that product.
    pub(super) fn tiled(&self) -> TiledKernel {
        let geometry = &self.geometry;
        TiledKernel {
            source: shader!("conv/forward_tiled.wgsl", "conv/geometry.wgsl", "conv/positions.wgsl"),
            constants: geometry.constants(),
            operands: OPERANDS,
            factors: [0, 1],
            result: 2,
            elements: geometry.output_shape().elements(),
            quads: Quads {
                a: geometry.group_in_channels().is_multiple_of(4),
                b: geometry.taps().is_multiple_of(4),
                result: geometry.group_out_channels().is_multiple_of(4),
            },
            prologue: Prologue::NONE,
            line_sums: None,
            column_moments: false,
            winners: None,
            epilogue: Some(self.epilogue),
            store: None,
        }
    }

    /// All ways on a GPU, best guess first; with `column_moments`, among them those that also leave the moments of the
    /// output's channels.
    pub(super) fn ways(&self, device: &DeviceProfile, column_moments: bool) -> Vec<Implementation> {
        let geometry = &self.geometry;
        let tiled = TiledKernel { column_moments, ..self.tiled() };
        let direct = shader!("conv/forward_direct.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
        let mut call = KernelCall::elementwise(direct, geometry.constants(), OPERANDS, tiled.elements);
        self.epilogue.complete(&mut call, OPERANDS);
        let loops = Loops {
            rows: geometry.height.kernel,
            columns: geometry.width.kernel,
            terms: geometry.group_in_channels(),
        };
        let direct = loops.direct(&call, device);
        gpu::implementations(
            geometry,
            FusedPass::Forward(self.epilogue),
            &self.product(),
            &tiled,
            direct,
            device,
        )
    }

    /// The operands as the CPU's forms take them.
    fn on_cpu<'a>(
        &'a self,
        operands: &'a mut Operands<f32>,
    ) -> CorrelationOperands<'a, impl Fn(&mut [f32]) + Sync> {
        let ([input, filters, output], more) = operands.split();
        let more = &*more;
        CorrelationOperands {
            source: Source::plain(input.reals(), self.geometry.in_channels),
            filters: filters.reals(),
            result: output.reals_mut(),
            finish: |output: &mut [f32]| self.epilogue.run_on_cpu(output, more),
        }
    }
}

impl Op for ConvForward {
    fn name(&self) -> &'static str {
        "conv2d.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("input", self.geometry.input_shape()),
            Operand::read("filters", self.geometry.filters_shape()),
            Operand::write("output", self.geometry.output_shape()),
        ];
        operands.extend(self.epilogue.operands(self.geometry.output_shape()));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([input, filters, output], more) = operands.split();
        let (input, filters) = (input.reals(), filters.reals());
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            *output =
                self.output_at(index, |i| input[i], |i| filters[i], |number, i| more[number].reals()[i]);
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(self.output_at(index, |i| read(0, i), |i| read(1, i), |number, i| read(OPERANDS + number, i)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let direct = Correlation::forward(&self.geometry);
        let mut forms = vec![CpuForm::exact(DIRECT, move |operands| direct.run(self.on_cpu(operands)))];
        if let Some(winograd) = WinogradCorrelation::new(direct) {
            let form = CpuForm::rounding(WINOGRAD, AMPLIFICATION_OF_4X4[0], move |operands| {
                winograd.run(self.on_cpu(operands))
            });
            add_form(&mut forms, form, winograd.pays());
        }
        forms
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        self.ways(device, false)
    }

    fn fuse_epilogue(&self, _: usize, next: Epilogue) -> Option<Box<dyn Op>> {
        Some(Box::new(ConvForward { epilogue: self.epilogue.then(next)?.by_channel()?, ..*self }))
    }

    fn fuse_beside(&self, other: &dyn Op) -> Option<Beside> {
        let norm = (other as &dyn Any).downcast_ref::<BatchNormTrain>()?;
        let both = ConvBatchNorm::new(*self, *norm)?;
        let further = (0..norm.operands().len()).filter(|&number| number != train::INPUT).collect();
        Some(Beside { op: Box::new(both), same: vec![[OPERANDS - 1, train::INPUT]], further })
    }

    fn condense(&self, operand: usize, next: &dyn Op) -> Option<Box<dyn Op>> {
        let pool = (next as &dyn Any).downcast_ref::<PoolForward>()?;
        let both = ConvMaxPool::new(*self, pool).filter(|_| operand == OPERANDS - 1)?;
        Some(Box::new(both))
    }

    fn flops(&self) -> u64 {
        self.geometry.flops()
    }

    fn precision(&self) -> Precision {
        self.epilogue.precision(self.geometry.forward_precision())
    }
}
