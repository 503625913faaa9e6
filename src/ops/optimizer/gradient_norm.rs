//! The norm of all gradients, for clipping.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::with_scratch;
use crate::device::DeviceProfile;
use crate::ops::batch::Advance;
use crate::ops::kernel::{Binding, Implementation, KernelCall, WORKGROUP_SIZE, shader};
use crate::ops::loss::{GROWTH_STEPS, LARGEST_SCALE, LOSS_SCALE, LOSS_SCALE_SIZE};
use crate::ops::op::{Beside, CpuForm, HostBuffer, Op, Operand, Operands, Precision};
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
/// With [`GradientNorm::with_loss_scale`], the gradients are `scale = max(1, loss_scale[0])` times as large as they should be:
///
/// ```text
/// norm = sqrt(sum over all gradients and i of gradient[i]^2) / scale
/// clip_scale = min(1, max_norm / (norm + 1e-6)) / scale
/// ```
///
/// and it decides on the next scale, as [`LOSS_SCALE`] says: if the norm is finite, `loss_scale[1] += 1`, and after
/// [`GROWTH_STEPS`] such steps the scale is doubled, up to [`LARGEST_SCALE`]. If it is not, clip_scale is 0, the scale is halved,
/// and the norm takes the place of the loss, which is kept in `loss_scale[2]` unless the scale was 1. A step whose loss is not
/// finite changes no scale. With [`GradientNorm::with_counter`], it also counts the step.
///
/// # Shapes
/// For parameters of `E1`, `E2`, .. values, each gradient; they lie side by side. Then step `[1]`, loss `[steps]` (in
/// place) -> clip_scale `[1]`, and if there is one, loss_scale `[3]` (in place), and if it counts, counter `[1]` (in place).
///
/// # Source
/// `torch.nn.utils.clip_grad_norm_`, `torch.amp.GradScaler`.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientNorm {
    elements: Vec<usize>,
    steps: usize,
    max_norm: f32,
    loss_scale: bool,
    counts: bool,
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
    /// A largest norm that clips nothing.
    pub const NO_LIMIT: f32 = 1e30;

    /// The scale of gradients with these numbers of elements, in a run of at most `steps` steps.
    pub fn new(elements: Vec<usize>, max_norm: f32, steps: usize) -> Self {
        let chunks = elements.iter().scan(0, |sum, elements| {
            let before = *sum;
            *sum += elements.div_ceil(CHUNK);
            Some(before)
        });
        let chunks_before = chunks.collect();
        GradientNorm { elements, steps, max_norm, loss_scale: false, counts: false, chunks_before }
    }

    /// The same for gradients that a loss scale has multiplied, with the operand `loss_scale` after all others.
    pub fn with_loss_scale(self) -> Self {
        GradientNorm { loss_scale: true, ..self }
    }

    /// The same, after which the step is counted, as [`Advance`] does, with the operand `counter` after all others.
    pub fn with_counter(self) -> Self {
        GradientNorm { counts: true, ..self }
    }

    /// The count of steps.
    fn advance(&self) -> Advance {
        Advance { steps: self.steps }
    }

    /// The number of the operand loss.
    fn loss(&self) -> usize {
        self.elements.len() + 1
    }

    /// The number of the operand counter, if there is one.
    fn counter(&self) -> Option<usize> {
        self.counts.then_some(self.elements.len() + 3 + usize::from(self.loss_scale))
    }

    /// Writes what follows from the norm of the gradients as they are, and counts the step.
    fn finish<T: Copy + Into<f64>>(
        &self,
        others: &mut [HostBuffer<T>],
        norm: f64,
        rounded: impl Fn(f64) -> T,
    ) {
        let (others, counter) = others.split_at_mut(others.len() - usize::from(self.counts));
        self.conclude(others, norm, rounded);
        if let [counter] = counter {
            Advance::count(&others[1], counter, |loss| loss.into().is_finite());
        }
    }

    fn conclude<T: Copy + Into<f64>>(
        &self,
        others: &mut [HostBuffer<T>],
        norm: f64,
        rounded: impl Fn(f64) -> T,
    ) {
        let (step, others) = others.split_first_mut().expect("a step");
        let (loss, others) = others.split_first_mut().expect("losses");
        let (clip_scale, others) = others.split_first_mut().expect("a scale");
        let now = loss.reals_mut().get_mut(step.indices()[0] as usize);
        let now = now.filter(|loss| (**loss).into().is_finite());
        let clipping = |norm: f64| {
            let scale = f64::from(self.max_norm) / (norm + EPSILON);
            if scale > 1.0 { 1.0 } else { scale }
        };
        // In f32, the norm may overflow.
        let is_good = rounded(norm).into().is_finite();
        let [loss_scale] = others else {
            clip_scale.reals_mut()[0] = rounded(clipping(norm));
            if let Some(loss) = now.filter(|_| !is_good) {
                *loss = rounded(norm);
            }
            return;
        };
        let loss_scale = loss_scale.reals_mut();
        let scale = loss_scale[0].into().max(1.0);
        clip_scale.reals_mut()[0] = rounded(if is_good { clipping(norm / scale) / scale } else { 0.0 });
        let Some(loss) = now else { return };
        if is_good {
            let steps = loss_scale[1].into() + 1.0;
            let grows = steps >= GROWTH_STEPS.into();
            let larger = (2.0 * scale).min(LARGEST_SCALE.into());
            loss_scale[0] = rounded(if grows { larger } else { scale });
            loss_scale[1] = rounded(if grows { 0.0 } else { steps });
            return;
        }
        if scale > 1.0 {
            loss_scale[2] = *loss;
        }
        loss_scale[0] = rounded((0.5 * scale).max(1.0));
        loss_scale[1] = rounded(0.0);
        *loss = rounded(norm);
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
        let loss_scale = self.loss_scale.then(|| Operand::update(LOSS_SCALE, [LOSS_SCALE_SIZE]));
        let counter = self.counts.then(|| self.advance().counter());
        gradients.chain(others).chain(loss_scale).chain(counter).collect()
    }

    fn side_by_side(&self) -> Vec<Range<usize>> {
        std::iter::once(0..self.elements.len()).collect()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let (gradients, others) = operands.as_mut_slice().split_at_mut(self.elements.len());
        let squares = gradients.iter().flat_map(|gradient| gradient.reals()).map(|value| value * value);
        self.finish(others, squares.sum::<f64>().sqrt(), |value| value);
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
            self.finish(others, sum.sqrt(), |value| value as f32);
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
        let mut total = KernelCall {
            source: shader!("optimizer/gradient_norm_total.wgsl", "float_bits.wgsl")
                .with_sizes(&[("WORKGROUP_SIZE", WORKGROUP_SIZE)]),
            constants: vec![
                ("PARTS", parts.into()),
                ("STEPS", self.steps.into()),
                ("MAX_NORM", self.max_norm.into()),
            ],
            bindings: vec![Binding::Workspace(0), operand(0), operand(1), operand(2)],
            workgroups: [1, 1, 1],
        };
        let conclusion = if self.loss_scale {
            let constants = [("GROWTH_STEPS", GROWTH_STEPS.into()), ("LARGEST_SCALE", LARGEST_SCALE.into())];
            total.constants.extend(constants);
            total.bindings.push(operand(3));
            shader!("optimizer/norm_of_scaled.wgsl")
        } else {
            shader!("optimizer/norm_as_it_is.wgsl")
        };
        total.source.files.extend(conclusion.files);
        Advance::complete(&mut total, self.counter());
        calls.push(total);
        vec![Implementation::of_calls("side_by_side", calls, vec![parts])]
    }

    fn fuse_beside(&self, other: &dyn Op) -> Option<Beside> {
        self.advance().beside(other, self.loss(), self.counter(), self.clone().with_counter())
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
