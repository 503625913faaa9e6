//! Putting tensors side by side.

use rayon::prelude::*;

use super::chunk_rows;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// Puts tensors of the same rows side by side along their channels.
///
/// `output[row,first[i]+k] = input[i][row,k]`, with `first[i]` the sum of the channels of the tensors before
///
/// # Shapes
/// one input `[rows,K[i]]` for each of the channels -> output `[rows,sum of K]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concatenate {
    /// Number of pixels in a batch of feature maps, or of samples of flat features.
    pub rows: usize,
    /// K: number of channels of each tensor, at least one.
    pub channels: Vec<usize>,
}

impl Concatenate {
    /// A copy of a single tensor.
    pub fn copy(elements: usize) -> Self {
        Concatenate { rows: 1, channels: vec![elements] }
    }

    /// Number of channels of the output.
    pub fn total(&self) -> usize {
        self.channels.iter().sum()
    }

    /// The number of a tensor, and its channel, that lies at channel `k` of the output.
    fn source(&self, mut k: usize) -> (usize, usize) {
        for (input, &channels) in self.channels.iter().enumerate() {
            if k < channels {
                return (input, k);
            }
            k -= channels;
        }
        panic!("a channel past the end");
    }

    /// The number of the tensor, and the index in it, of the output's value at `index`.
    fn place(&self, index: usize) -> (usize, usize) {
        let (row, k) = (index / self.total(), index % self.total());
        let (input, k) = self.source(k);
        (input, row * self.channels[input] + k)
    }
}

impl Op for Concatenate {
    fn name(&self) -> &'static str {
        "concatenate.forward"
    }

    fn operands(&self) -> Vec<Operand> {
        let inputs = self.channels.iter().map(|&channels| Operand::read("input", [self.rows, channels]));
        inputs.chain([Operand::write("output", [self.rows, self.total()])]).collect()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let (output, inputs) = operands.as_mut_slice().split_last_mut().expect("an output");
        for (index, output) in output.reals_mut().iter_mut().enumerate() {
            let (input, place) = self.place(index);
            *output = inputs[input].reals()[place];
        }
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let (input, place) = self.place(index);
        Some(read(input, place))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let (output, inputs) = operands.as_mut_slice().split_last_mut().expect("an output");
            let (inputs, total) = (&*inputs, self.total());
            let rows = chunk_rows(total);
            output.reals_mut().par_chunks_mut(rows * total).enumerate().for_each(|(chunk, output)| {
                let mut first = 0;
                for (input, &channels) in inputs.iter().zip(&self.channels) {
                    let input = input.reals()[chunk * rows * channels..].chunks_exact(channels);
                    for (output, input) in output.chunks_exact_mut(total).zip(input) {
                        output[first..first + channels].copy_from_slice(input);
                    }
                    first += channels;
                }
            });
        })
    }

    /// A launch for each tensor.
    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let mut first = 0;
        let calls = self.channels.iter().enumerate().map(|(input, &channels)| {
            let elements = self.rows * channels;
            let constants = vec![
                ("ELEMENTS", elements.into()),
                ("CHANNELS", channels.into()),
                ("FIRST_CHANNEL", first.into()),
                ("ALL_CHANNELS", self.total().into()),
            ];
            first += channels;
            let source = shader!("concatenate/forward.wgsl", "grid.wgsl");
            let mut call = KernelCall::elementwise(source, constants, 2, elements);
            call.bindings = [input, self.channels.len()].map(Binding::Operand).into();
            call
        });
        vec![Implementation::of_calls("direct", calls.collect(), Vec::new())]
    }

    /// None: copying is not floating-point arithmetic.
    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}
