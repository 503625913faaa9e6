//! Adding a bias.

use rayon::prelude::*;

use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Valuewise};

/// Adds a bias to every row of a tensor, in place.
///
/// `output[row,k] += bias[k]`
///
/// # Shapes
/// bias `[K]`; output `[rows,K]`, changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiasForward {
    /// Number of pixels in a batch of images, or of samples of a dense layer.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

/// Number of elements that a core takes at a time.
const CHUNK_ELEMENTS: usize = 16 << 10;

impl Op for BiasForward {
    fn name(&self) -> &'static str {
        "bias.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("bias", [self.channels]), Operand::update("output", [self.rows, self.channels])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [bias, output] = operands.all();
        let (bias, output) = (bias.reals(), output.reals_mut());
        for row in 0..self.rows {
            for k in 0..self.channels {
                output[row * self.channels + k] += bias[k];
            }
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [bias, output] = operands.all();
            let bias = bias.reals();
            let rows = (CHUNK_ELEMENTS / self.channels).max(1);
            output.reals_mut().par_chunks_mut(rows * self.channels).for_each(|output| {
                for row in output.chunks_exact_mut(self.channels) {
                    for (output, bias) in row.iter_mut().zip(bias) {
                        *output += bias;
                    }
                }
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ROWS", self.rows.into()), ("CHANNELS", self.channels.into())];
        let direct = shader!("bias/forward_direct.wgsl", "grid.wgsl");
        let elements = self.rows * self.channels;
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 2, elements))]
    }

    fn as_epilogue(&self, operand: usize) -> Option<Valuewise<Epilogue>> {
        let function = Epilogue { bias: true, ..Epilogue::NONE };
        (operand == 1).then_some(Valuewise { function, takes: 1, gives: 1 })
    }

    fn flops(&self) -> u64 {
        self.rows as u64 * self.channels as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(2)
    }
}
