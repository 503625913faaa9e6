//! The products of channels and factors.

use rayon::prelude::*;

use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Multiplies every channel of an image by a factor of its own.
///
/// `output[n,row,k] = input[n,row,k] * factors[n,k]`
///
/// With the gradient of the output in place of the input, it is the gradient of the input.
///
/// # Shapes
/// input `[samples,rows,K]`, factors `[samples,K]` -> output `[samples,rows,K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiply {
    /// Number of images.
    pub samples: usize,
    /// Number of pixels of an image, or 1 for flat features.
    pub rows: usize,
    /// K: number of channels.
    pub channels: usize,
}

impl Multiply {
    fn elements(&self) -> usize {
        self.samples * self.rows * self.channels
    }

    /// The index of the factor of the value at `index`.
    fn factor(&self, index: usize) -> usize {
        index / (self.rows * self.channels) * self.channels + index % self.channels
    }
}

impl Op for Multiply {
    fn name(&self) -> &'static str {
        "multiply.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let Multiply { samples, rows, channels } = *self;
        vec![
            Operand::read("input", [samples, rows, channels]),
            Operand::read("factors", [samples, channels]),
            Operand::write("output", [samples, rows, channels]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, factors, output] = operands.all();
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            *output = input.reals()[index] * factors.reals()[self.factor(index)];
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        Some(read(0, index) * read(1, self.factor(index)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, factors, output] = operands.all();
            let image = self.rows * self.channels;
            let given = input.reals().par_chunks(image).zip(factors.reals().par_chunks(self.channels));
            output.reals_mut().par_chunks_mut(image).zip(given).for_each(|(output, (input, factors))| {
                vectorized(|| {
                    let rows = output.chunks_exact_mut(factors.len()).zip(input.chunks_exact(factors.len()));
                    for (output, input) in rows {
                        for ((output, input), factor) in output.iter_mut().zip(input).zip(factors) {
                            *output = input * factor;
                        }
                    }
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("ELEMENTS", self.elements().into()),
            ("ROWS", self.rows.into()),
            ("CHANNELS", self.channels.into()),
        ];
        let direct = shader!("multiply/forward.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(direct, constants, 3, self.elements()))]
    }

    fn flops(&self) -> u64 {
        self.elements() as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(1)
    }
}
