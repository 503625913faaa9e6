//! The norm of all gradients, for clipping.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::with_scratch;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, WORKGROUP_SIZE, shader};
use crate::ops::op::{CpuForm, HostBuffer, Op, Operand, Operands, Precision};
use crate::ops::span::side_by_side;

/// The factor that scales all gradients so that their common norm is at most `max_norm`.
///
/// ```text
/// norm = sqrt(sum over all gradients and i of gradient[i]^2)
/// clip_scale = min(1, max_norm / (norm + 1e-6))
/// ```
///
/// If the norm is not finite but the loss is, the norm is written to `loss[step]`: no scale would save the step, which
/// is then treated like one whose loss is not finite, with an error and with the parameters intact. PyTorch would
/// spread the NaN. In f32 the squares overflow for norms above 1.8e19, which count as infinite.
///
/// # Shapes
/// For parameters of `E1`, `E2`, .. values, each gradient; they lie side by side. Then step `[1]`, loss `[steps]` (in
/// place) -> clip_scale `[1]`.
///
/// # Source
/// `torch.nn.utils.clip_grad_norm_`.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientNorm {
    elements: Vec<usize>,
    steps: usize,
    max_norm: f32,
    // For the CPU, the number of chunks in the tensors before each one.
    chunks_before: Vec<usize>,
}

/// The value that PyTorch adds to the norm.
const EPSILON: f64 = 1e-6;

/// Number of quads that a workgroup sums.
const PART_QUADS: usize = 16 * WORKGROUP_SIZE as usize;

/// Number of values that a core sums at a time.
const CHUNK: usize = 4096;

/// Number of partial sums that a core computes in parallel.
const LANES: usize = 16;

impl GradientNorm {
    /// The scale of gradients with these numbers of elements, in a run of at most `steps` steps.
    pub fn new(elements: Vec<usize>, max_norm: f32, steps: usize) -> Self {
        let chunks = elements.iter().scan(0, |sum, elements| {
            let before = *sum;
            *sum += elements.div_ceil(CHUNK);
            Some(before)
        });
        let chunks_before = chunks.collect();
        GradientNorm { elements, steps, max_norm, chunks_before }
    }

    fn finish<T: Copy>(
        &self,
        others: &mut [HostBuffer<T>],
        scale: T,
        norm: T,
        is_finite: impl Fn(T) -> bool,
    ) {
        let [step, loss, clip_scale] = others else { unreachable!("three operands follow the gradients") };
        clip_scale.reals_mut()[0] = scale;
        let now = loss.reals_mut().get_mut(step.indices()[0] as usize);
        if let Some(loss) = now.filter(|loss| is_finite(**loss) && !is_finite(norm)) {
            *loss = norm;
        }
    }
}

/// The sum of squares.
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (rows, rest) = values.as_chunks::<LANES>();
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}

impl Op for GradientNorm {
    fn name(&self) -> &'static str {
        "gradient_norm"
    }

    fn operands(&self) -> Vec<Operand> {
        let gradients = self.elements.iter().map(|&elements| Operand::read("gradient", [elements]));
        let others = [
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::update("loss", [self.steps]),
            Operand::write("clip_scale", [1]),
        ];
        gradients.chain(others).collect()
    }

    fn side_by_side(&self) -> Vec<Range<usize>> {
        std::iter::once(0..self.elements.len()).collect()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let (gradients, others) = operands.as_mut_slice().split_at_mut(self.elements.len());
        let squares = gradients.iter().flat_map(|gradient| gradient.reals()).map(|value| value * value);
        let norm = squares.sum::<f64>().sqrt();
        let scale = f64::from(self.max_norm) / (norm + EPSILON);
        self.finish(others, if scale > 1.0 { 1.0 } else { scale }, norm, f64::is_finite);
    }

    /// Each chunk is summed on its own; the chunks are added in order.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let (gradients, others) = operands.as_mut_slice().split_at_mut(self.elements.len());
            let gradients = &*gradients;
            let chunks = self.elements.iter().map(|elements| elements.div_ceil(CHUNK)).sum();
            let sum = with_scratch(chunks, |sums| {
                sums.par_iter_mut().enumerate().for_each(|(chunk, sum)| {
                    let tensor = self.chunks_before.partition_point(|&before| before <= chunk) - 1;
                    let (gradient, first) =
                        (gradients[tensor].reals(), (chunk - self.chunks_before[tensor]) * CHUNK);
                    *sum = sum_of_squares(&gradient[first..gradient.len().min(first + CHUNK)]);
                });
                sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
            });
            let norm = sum.sqrt();
            let scale = (f64::from(self.max_norm) / (norm + EPSILON)).min(1.0);
            self.finish(others, scale as f32, norm as f32, f32::is_finite);
        })
    }

    /// The sums of parts, with one launch per span that the device can bind, and then their sum.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        const QUAD: usize = 4;
        let tensors = self.elements.len();
        let mut parts = 0;
        let mut calls = Vec::new();
        for span in side_by_side(&self.elements, device.largest_buffer()) {
            let quads = span.elements / QUAD;
            let source = shader!("optimizer/gradient_norm_parts.wgsl", "grid.wgsl");
            let source = source.with_sizes(&[("PART_QUADS", PART_QUADS as u32)]);
            let constants = vec![("QUADS", quads.into()), ("FIRST_PART", parts.into())];
            let gradients = Binding::Span { first: span.tensors.start, last: span.tensors.end - 1 };
            let bindings = vec![gradients, Binding::Workspace(0)];
            let parts_of_span = quads.div_ceil(PART_QUADS);
            calls.push(KernelCall::new(source, constants, bindings, parts_of_span));
            parts += parts_of_span;
        }
        let operand = |number: usize| Binding::Operand(tensors + number);
        calls.push(KernelCall {
            source: shader!("optimizer/gradient_norm_total.wgsl", "float_bits.wgsl")
                .with_sizes(&[("WORKGROUP_SIZE", WORKGROUP_SIZE)]),
            constants: vec![
                ("PARTS", parts.into()),
                ("STEPS", self.steps.into()),
                ("MAX_NORM", self.max_norm.into()),
            ],
            bindings: vec![Binding::Workspace(0), operand(0), operand(1), operand(2)],
            workgroups: [1, 1, 1],
        });
        vec![Implementation::of_calls("side_by_side", calls, vec![parts])]
    }

    fn flops(&self) -> u64 {
        2 * self.elements.iter().sum::<usize>() as u64
    }

    /// All terms have the same sign, and few are added at a time.
    fn precision(&self) -> Precision {
        Precision::approximate(8.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_that_is_not_finite_becomes_the_loss() {
        let op = GradientNorm::new(vec![2, 1], 1.0, 2);
        for (step, gradient, loss, expected) in [
            (1, 4.0, 7.0, Some(7.0)),
            (1, f32::NAN, 7.0, None),
            (1, f32::INFINITY, 7.0, None),
            (1, f32::NAN, f32::INFINITY, Some(f32::INFINITY)),
            (2, f32::NAN, 7.0, Some(7.0)),
        ] {
            let mut operands = Operands::new(vec![
                HostBuffer::real(vec![3.0, 0.0]),
                HostBuffer::real(vec![gradient]),
                HostBuffer::index(vec![step]),
                HostBuffer::real(vec![1.0, loss]),
                HostBuffer::real(vec![f32::NAN]),
            ]);
            op.cpu_forms()[0].run(&mut operands);
            let buffers = operands.into_buffers();
            let (found, scale) = (buffers[3].reals()[1], buffers[4].reals()[0]);
            match expected {
                Some(expected) => assert_eq!(found, expected, "step {step}, gradient {gradient}"),
                None => assert!(!found.is_finite(), "step {step}, gradient {gradient}: {found}"),
            }
            assert_eq!(buffers[3].reals()[0], 1.0);
            if gradient == 4.0 {
                assert!((scale - 0.2).abs() < 1e-6, "{scale}");
            }
        }
    }
}
