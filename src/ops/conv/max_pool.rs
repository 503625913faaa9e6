//! A convolution and the max-pool of its output, in one.

use std::mem;

use super::{ConvForward, OPERANDS, gpu};
use crate::device::{DeviceKind, DeviceProfile};
use crate::ops::cost::{CostClass, LAUNCH, travel};
use crate::ops::gemm::{Product, TiledKernel};
use crate::ops::kernel::{Binding, Implementation, best_first, shader};
use crate::ops::op::{CpuForm, Element, HostBuffer, Op, Operand, Operands, Precision, Read};
use crate::ops::pool::{PLACES, PoolForward, WindowsOfFour};

/// A [`ConvForward`], and the [`PoolForward`] of its output by windows of 2x2 side by side.
///
/// `output[n,p,q,k] = max over r,s of convolved[n,2p+r,2q+s,k]` and `winners[n,p,q,k] = 2r + s` of the first of the largest.
/// That is all that gradients need: what is convolved is never in memory, where kernels have the results of a window in
/// registers.
///
/// # Shapes
/// The operands of the convolution, of which the output is `[N,P/2,Q/2,K]`, then winners of that shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvMaxPool {
    conv: ConvForward,
    windows: WindowsOfFour,
}

/// The number of the operand output.
const OUTPUT: usize = OPERANDS - 1;

impl ConvMaxPool {
    /// Both; `None` if the pool is not one of the convolution's output, if it has other windows, or if the convolution's output
    /// is normalised.
    pub fn new(conv: ConvForward, pool: &PoolForward) -> Option<Self> {
        let windows = WindowsOfFour::new(pool)?;
        let fits = pool.geometry.input_shape() == conv.geometry.output_shape();
        (fits && conv.epilogue.normalise.is_none()).then_some(ConvMaxPool { conv, windows })
    }

    /// The number of the operand winners, and of those before it.
    fn winners(&self) -> usize {
        self.conv.operands().len()
    }

    /// The elements that the convolution has.
    fn convolved(&self) -> usize {
        self.conv.geometry.output_shape().elements()
    }

    /// The elements of the output.
    fn elements(&self) -> usize {
        self.windows.geometry.output_shape().elements()
    }

    /// The output of `convolve`, which has the operands of the convolution.
    fn convolve<T: Clone + Default>(
        &self,
        operands: &mut Operands<T>,
        convolve: impl FnOnce(&mut Operands<T>),
    ) -> HostBuffer<T> {
        let memory = HostBuffer::zeros(Element::Real, self.convolved());
        let output = mem::replace(&mut operands.as_mut_slice()[OUTPUT], memory);
        let of_conv: Vec<usize> = (0..self.winners()).collect();
        operands.with(&of_conv, convolve);
        mem::replace(&mut operands.as_mut_slice()[OUTPUT], output)
    }

    /// The ways whose kernels have the results of a window in registers.
    fn in_registers(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let product = Product { m: PLACES as usize * self.windows.windows(), ..self.conv.product() };
        let source =
            shader!("conv/forward_tiled.wgsl", "conv/geometry.wgsl", "conv/positions_by_window.wgsl");
        let kernel = TiledKernel { source, winners: Some(self.winners()), ..self.conv.tiled() };
        let mut ways = gpu::products(&self.conv.geometry, &product, &kernel, device);
        // A rasteriser has better kernels than tiles for the convolution.
        if device.kind == DeviceKind::Software {
            ways.iter_mut().for_each(|way| way.cost.class = CostClass::RunnerUp);
        }
        ways.extend(gpu::max_pooled(&self.conv.geometry, &self.conv.epilogue, self.winners(), device));
        ways
    }

    /// A way to convolve, and then the pool.
    fn followed_by_pool(&self, mut way: Implementation, device: &DeviceProfile) -> Implementation {
        let mut pool = self.windows.call();
        pool.bindings[2] = Binding::Operand(self.winners());
        way.cost.time += LAUNCH + travel(self.convolved() + 2 * self.elements(), device);
        way.added_by(pool, OUTPUT, self.convolved())
    }
}

impl Op for ConvMaxPool {
    fn name(&self) -> &'static str {
        "conv2d.max_pool"
    }

    fn operands(&self) -> Vec<Operand> {
        let of_output = self.windows.geometry.output_shape();
        let mut operands = self.conv.operands();
        operands[OUTPUT].shape = of_output.clone();
        operands.push(Operand::write("winners", of_output).indices(PLACES));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let convolved = self.convolve(operands, |operands| self.conv.define(operands));
        let (convolved, winners) = (convolved.reals(), self.winners());
        for index in 0..self.elements() {
            let place = self.windows.place(index, |i| convolved[i]);
            let operands = operands.as_mut_slice();
            operands[OUTPUT].reals_mut()[index] = convolved[self.windows.input_index(index, place)];
            operands[winners].indices_mut()[index] = place;
        }
    }

    /// That of the output; winners have none.
    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        if index >= self.elements() {
            return None;
        }
        let values = (0..PLACES).map(|place| self.chosen(read, self.winners(), index, place));
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        let number = values.iter().find(|value| value.is_nan());
        Some(number.copied().unwrap_or_else(|| values.into_iter().fold(f64::NEG_INFINITY, f64::max)))
    }

    fn chosen(&self, read: &Read<'_>, operand: usize, position: usize, index: u32) -> Option<f64> {
        let is_place = operand == self.winners() && index < PLACES;
        is_place.then(|| self.conv.define_at(read, self.windows.input_index(position, index)))?
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let forms = self.conv.cpu_forms().into_iter().map(|conv| {
            let (name, exact_on_integers, amplification) =
                (conv.name, conv.exact_on_integers, conv.amplification);
            let run = move |operands: &mut Operands<f32>| {
                let convolved = self.convolve(operands, |operands| conv.run(operands));
                let [output, winners] = operands
                    .as_mut_slice()
                    .get_disjoint_mut([OUTPUT, self.winners()])
                    .expect("two operands that are written");
                self.windows.run_on_cpu(convolved.reals(), output.reals_mut(), winners.indices_mut());
            };
            let mut form = CpuForm::rounding(name, amplification, run);
            form.exact_on_integers = exact_on_integers;
            form
        });
        forms.collect()
    }

    /// Those that have windows in registers take the places of the same ones that do not.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let mut ways = self.in_registers(device);
        let names: Vec<&str> = ways.iter().map(|way| way.name).collect();
        let convolving = self.conv.implementations(device).into_iter();
        let others = convolving.filter(|way| !names.contains(&way.name));
        ways.extend(others.map(|way| self.followed_by_pool(way, device)));
        best_first(ways)
    }

    /// The convolution's, and a comparison for each place.
    fn flops(&self) -> u64 {
        self.conv.flops() + (self.elements() * PLACES as usize) as u64
    }

    fn precision(&self) -> Precision {
        self.conv.precision()
    }
}
