//! The gradient of a max-pool's input, from the places of the largest values.

use rayon::prelude::*;

use super::places::{PLACES, WindowsOfFour};
use super::{PoolForward, PoolGeometry};
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};
use crate::ops::prologue::Prologue;

/// Gradient of the loss with respect to the input of a max-pool of windows of 2x2 side by side, where the largest values are
/// known.
///
/// `grad_input[n,2p+r,2q+s,c] = grad_output[n,p,q,c]` if `winners[n,p,q,c] = 2r + s`, otherwise zero, as are rows and columns
/// past the last whole window. If the pool's input is an activation's output, the result may be the gradient of the
/// activation's input: with the [`Prologue`], since the largest values, the pool's output, are where the gradient is not zero.
///
/// # Shapes
/// winners `[N,P,Q,C]`, grad_output `[N,P,Q,C]` -> grad_input `[N,H,W,C]`, then what the prologue reads, of which activated is the
/// pool's output; see [`PoolGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxUnpool {
    windows: WindowsOfFour,
    prologue: Prologue,
}

/// The numbers of the operands.
const WINNERS: usize = 0;
const GRAD_OUTPUT: usize = 1;
const GRAD_INPUT: usize = 2;

/// Number of operands before that of the prologue.
const OPERANDS: usize = 3;

impl MaxUnpool {
    /// The gradient behind a pool, of an input that is the output of the prologue's activation if it has one; `None` if the
    /// pool has other windows.
    pub fn new(pool: &PoolForward, prologue: Prologue) -> Option<Self> {
        Some(MaxUnpool { windows: WindowsOfFour::new(pool)?, prologue })
    }

    /// The sizes of the pool.
    pub(in crate::ops) fn geometry(&self) -> &PoolGeometry {
        &self.windows.geometry
    }

    /// The function applied to each value of grad_output as it is read.
    pub fn prologue(&self) -> Prologue {
        self.prologue
    }

    /// The operand winners.
    pub(super) fn winners(&self) -> Operand {
        Operand::read("winners", self.geometry().output_shape()).indices(PLACES)
    }

    /// By definition, the window and channel of a value of the input, as an index in the output, and its place in there; `None`
    /// past the last whole window.
    pub(super) fn window_of(&self, index: usize) -> Option<(usize, u32)> {
        self.windows.window_of(index)
    }

    /// The launch, which binds grad_output, grad_input and winners, and then what the prologue reads.
    pub(super) fn call(&self) -> KernelCall {
        let PoolGeometry { batch_size, channels, height, width } = *self.geometry();
        let source = shader!("pool/unpool.wgsl", "conv/geometry.wgsl", "grid.wgsl");
        let cells = batch_size * height.input.div_ceil(2) * width.input.div_ceil(2) * channels;
        let mut call = KernelCall::elementwise(source, self.geometry().constants(), OPERANDS, cells);
        call.bindings = [GRAD_OUTPUT, GRAD_INPUT, WINNERS].map(Binding::Operand).into();
        self.prologue.complete(&mut call, OPERANDS);
        call
    }
}

impl Op for MaxUnpool {
    fn name(&self) -> &'static str {
        "max_pool2d.unpool"
    }

    fn operands(&self) -> Vec<Operand> {
        let of_output = self.geometry().output_shape();
        let mut operands = vec![
            self.winners(),
            Operand::read("grad_output", of_output.clone()),
            Operand::write("grad_input", self.geometry().input_shape()),
        ];
        operands.extend(self.prologue.operand(of_output));
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([winners, grad_output, grad_input], more) = operands.split();
        let grads = self.prologue.define(grad_output.reals(), more);
        let grad_input = grad_input.reals_mut();
        grad_input.fill(0.0);
        for (index, (&place, grad)) in winners.indices().iter().zip(grads.iter()).enumerate() {
            grad_input[self.windows.input_index(index, place)] = *grad;
        }
    }

    /// An image at a time.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let PoolGeometry { batch_size, channels, .. } = *self.geometry();
            let ([winners, grad_output, grad_input], more) = operands.split();
            let (winners, grad_output, more) = (winners.indices(), grad_output.reals(), &*more);
            let grad_input = grad_input.reals_mut();
            let [of_input, of_output] =
                [grad_input.len(), winners.len()].map(|elements| elements / batch_size);
            grad_input.par_chunks_mut(of_input).enumerate().for_each(|(n, grad_input)| {
                let image = n * of_output..(n + 1) * of_output;
                let winners = &winners[image.clone()];
                self.prologue.run_on_cpu(grad_output, image, more, |grads| {
                    grad_input.fill(0.0);
                    self.geometry().for_each_window(|window, pixels| {
                        for (place, pixel) in (0..PLACES).zip(pixels.iter()) {
                            for c in 0..channels {
                                let is_largest = winners[window * channels + c] == place;
                                let grad = grads[window * channels + c];
                                grad_input[pixel * channels + c] = if is_largest { grad } else { 0.0 };
                            }
                        }
                    });
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        vec![Implementation::of("direct", self.call())]
    }

    /// A comparison for each tap.
    fn flops(&self) -> u64 {
        self.geometry().output_shape().elements() as u64 * u64::from(PLACES)
    }

    fn precision(&self) -> Precision {
        self.prologue.precision(Precision::EXACT)
    }
}
