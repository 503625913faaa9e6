//! Softmax and cross-entropy in one: the loss of a classifier.

use rayon::prelude::*;

use crate::cpu::with_scratch;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, FROM_THE_FIRST_WORKGROUP, Implementation, KernelCall, grid, shader};
use crate::ops::op::{Op, Operand, Operands, Precision};
use crate::{Error, Result};

/// Target of a row that shows nothing: the padded rows of an evaluation's last batch.
pub const NO_LABEL: u32 = u32::MAX;

/// Softmax cross-entropy of a batch, how many of its rows are classified correctly, and the gradient.
///
/// ```text
/// loss[step] = sum over n of (log(sum over c of exp(logits[n,c])) - logits[n,targets[n]]) / N
/// correct[step] = number of rows n whose first largest logit is that of targets[n]
/// grad_logits[n,c] = (exp(logits[n,c]) / sum over c of exp(logits[n,c]) - (c == targets[n])) / N
/// ```
///
/// A row whose target is no class, such as [`NO_LABEL`], adds to neither sum and has no gradient; N counts
/// it all the same. A row that holds a NaN is not correct. A NaN or a positive infinity in a labelled row
/// makes the loss NaN. Elements other than `step` of loss and correct stay as they are; a step past the end
/// changes none.
///
/// # Shapes
/// logits `[N,classes]`, targets `[N]`, step `[1]` -> loss `[steps]`, correct `[steps]`, grad_logits
/// `[N,classes]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxCrossEntropy {
    /// N: rows of logits.
    pub batch_size: usize,
    /// Classes to choose from.
    pub classes: usize,
    /// Losses that are kept, one a training step.
    pub steps: usize,
}

/// Rows and classes, at most: the kernels' loops over them have an end on every device.
const MOST: [usize; 2] = [1 << 21, 1 << 20];

impl SoftmaxCrossEntropy {
    /// Checks the sizes of a loss.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 2^21 rows or 2^20 classes, and for none.
    pub fn new(batch_size: usize, classes: usize, steps: usize) -> Result<Self> {
        for (what, size, most) in [("batch_size", batch_size, MOST[0]), ("classes", classes, MOST[1])] {
            if !(1..=most).contains(&size) {
                return Err(Error::invalid(
                    "softmax_cross_entropy",
                    format!("{what} from 1 to {most}"),
                    size,
                ));
            }
        }
        Ok(SoftmaxCrossEntropy { batch_size, classes, steps })
    }
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("logits", [self.batch_size, self.classes]),
            Operand::read("targets", [self.batch_size]).indices(self.classes as u32),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::update("loss", [self.steps]),
            Operand::update("correct", [self.steps]).indices(self.batch_size as u32 + 1),
            Operand::write("grad_logits", [self.batch_size, self.classes]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [logits, targets, step, loss, correct, grad_logits] = operands.all();
        let (logits, targets, grad_logits) = (logits.reals(), targets.indices(), grad_logits.reals_mut());
        let (mut sum, mut hits) = (0.0, 0);
        for (n, &target) in targets.iter().enumerate() {
            let target = target as usize;
            let row = n * self.classes..(n + 1) * self.classes;
            let (logits, grad_logits) = (&logits[row.clone()], &mut grad_logits[row]);
            if target >= self.classes {
                grad_logits.fill(0.0);
                continue;
            }
            // log(sum of exp(logit)) = largest + log(sum of exp(logit - largest)), where nothing overflows.
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            sum += total.ln() - (logits[target] - largest);
            let first_largest = logits.iter().position(|&logit| logit == largest);
            if first_largest == Some(target) && !logits.iter().any(|logit| logit.is_nan()) {
                hits += 1;
            }
            for c in 0..self.classes {
                let softmax = (logits[c] - largest).exp() / total;
                let one_hot = if c == target { 1.0 } else { 0.0 };
                grad_logits[c] = (softmax - one_hot) / self.batch_size as f64;
            }
        }
        let step = step.indices()[0] as usize;
        if step < self.steps {
            loss.reals_mut()[step] = sum / self.batch_size as f64;
            correct.indices_mut()[step] = hits;
        }
    }

    /// The rows side by side, then their sum, first row first.
    fn run_on_cpu(&self, operands: &mut Operands<f32>) {
        let [logits, targets, step, loss, correct, grad_logits] = operands.all();
        let classes = self.classes;
        let weight = 1.0 / self.batch_size as f32;
        let rows = logits.reals().par_chunks(classes).zip(targets.indices());
        let rows = grad_logits.reals_mut().par_chunks_mut(classes).zip(rows);
        // Of each row, the loss and whether its guess is right.
        with_scratch(2 * self.batch_size, |results| {
            rows.zip(results.par_chunks_exact_mut(2)).for_each(
                |((grad_logits, (logits, &target)), result)| {
                    let target = target as usize;
                    if target >= classes {
                        grad_logits.fill(0.0);
                        result.fill(0.0);
                        return;
                    }
                    let winner = (1..classes).fold(0, |best, c| {
                        let larger = logits[c] > logits[best] || logits[c].is_nan() && !logits[best].is_nan();
                        if larger { c } else { best }
                    });
                    let largest = logits[winner];
                    for (grad, logit) in grad_logits.iter_mut().zip(logits) {
                        *grad = (logit - largest).exp();
                    }
                    let total = grad_logits.iter().map(|&value| f64::from(value)).sum::<f64>() as f32;
                    for grad in grad_logits.iter_mut() {
                        *grad *= weight / total;
                    }
                    grad_logits[target] -= weight;
                    result[0] = total.ln() - (logits[target] - largest);
                    result[1] = f32::from(u8::from(winner == target && !largest.is_nan()));
                },
            );
            let step = step.indices()[0] as usize;
            if step < self.steps {
                let sum: f64 = results.chunks_exact(2).map(|result| f64::from(result[0])).sum();
                loss.reals_mut()[step] = (sum / self.batch_size as f64) as f32;
                correct.indices_mut()[step] =
                    results.chunks_exact(2).filter(|result| result[1] == 1.0).count() as u32;
            }
        });
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let batch_size = ("BATCH_SIZE", self.batch_size.into());
        let operand = Binding::Operand;
        let [row_loss, row_correct] = [0, 1].map(Binding::Workspace);
        let rows = KernelCall {
            source: shader!("loss/softmax_cross_entropy_rows.wgsl", "float_bits.wgsl", "grid.wgsl"),
            constants: vec![FROM_THE_FIRST_WORKGROUP, batch_size, ("CLASSES", self.classes.into())],
            bindings: vec![operand(0), operand(1), operand(5), row_loss, row_correct],
            workgroups: grid(self.batch_size),
        };
        let total = KernelCall {
            source: shader!("loss/softmax_cross_entropy_total.wgsl", "grid.wgsl"),
            constants: vec![FROM_THE_FIRST_WORKGROUP, batch_size, ("STEPS", self.steps.into())],
            bindings: vec![operand(2), operand(3), operand(4), row_loss, row_correct],
            workgroups: [1, 1, 1],
        };
        vec![Implementation::of_calls("row_a_workgroup", vec![rows, total], vec![self.batch_size; 2])]
    }

    /// A comparison, a difference, an exponential, a sum, a quotient and a product for each logit.
    fn flops(&self) -> u64 {
        6 * self.batch_size as u64 * self.classes as u64
    }

    /// Sums of 64 strided parts, one after the other; exponentials and logarithms of a few units in the last
    /// place.
    fn precision(&self) -> Precision {
        let summed = self.classes.div_ceil(64) + self.batch_size.div_ceil(64);
        Precision { summed, ..Precision::approximate(16.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    /// Losses, numbers of correct rows and gradients of the definition and of the CPU form, at step 1 of 3.
    fn run(logits: &[f64], targets: &[u32]) -> [(Vec<f64>, Vec<u32>, Vec<f64>); 2] {
        let (batch_size, classes) = (targets.len(), logits.len() / targets.len());
        let op = SoftmaxCrossEntropy { batch_size, classes, steps: 3 };
        let given = vec![
            HostBuffer::real(logits.to_vec()),
            HostBuffer::index(targets.to_vec()),
            HostBuffer::index(vec![1]),
            HostBuffer::real(vec![7.0; 3]),
            HostBuffer::index(vec![9; 3]),
            HostBuffer::real(vec![5.0; logits.len()]),
        ];
        let mut on_cpu =
            Operands::new(given.iter().map(|buffer| buffer.map_reals(|&value| value as f32)).collect());
        let mut defined = Operands::new(given);
        op.define(&mut defined);
        op.run_on_cpu(&mut on_cpu);
        let on_cpu = on_cpu.into_buffers();
        let on_cpu = on_cpu.iter().map(|buffer| buffer.map_reals(|&value| value.into())).collect();
        [defined.into_buffers(), on_cpu].map(|buffers: Vec<HostBuffer<f64>>| {
            (buffers[3].reals().to_vec(), buffers[4].indices().to_vec(), buffers[5].reals().to_vec())
        })
    }

    #[test]
    fn sizes_beyond_what_loops_take_are_refused() {
        assert!(SoftmaxCrossEntropy::new(1 << 21, 1 << 20, 1).is_ok());
        for (rows, classes, what) in
            [((1 << 21) + 1, 2, "batch_size"), (2, (1 << 20) + 1, "classes"), (0, 1, "batch_size")]
        {
            let error = SoftmaxCrossEntropy::new(rows, classes, 1).unwrap_err().to_string();
            assert!(error.contains(&format!("expected {what} from 1 to")), "{error}");
        }
    }

    #[test]
    fn a_row_without_label_adds_nothing_and_large_logits_do_not_overflow() {
        for (loss, correct, grad_logits) in run(&[1e4, 1e4, 3.0, 5.0, -1e4, 0.0], &[0, NO_LABEL, 0]) {
            let expected = (2f64.ln() + 1e4) / 3.0;
            assert!((loss[1] - expected).abs() < 1e-3, "{} for {expected}", loss[1]);
            assert_eq!([loss[0], loss[2]], [7.0; 2]);
            assert_eq!(correct, [9, 1, 9]);
            let expected = [-0.5 / 3.0, 0.5 / 3.0, 0.0, 0.0, -1.0 / 3.0, 1.0 / 3.0];
            assert!(
                grad_logits.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn logits_that_are_not_finite_show_in_the_loss() {
        for bad in [f64::NAN, f64::INFINITY] {
            for (loss, correct, _) in run(&[1.0, 0.0, 0.0, bad], &[0, 0]) {
                assert!(!loss[1].is_finite());
                assert_eq!(correct[1], 1);
            }
        }
        for (loss, correct, _) in run(&[f64::NAN, 0.0], &[0]) {
            assert!(loss[1].is_nan());
            assert_eq!(correct[1], 0);
        }
        for (loss, ..) in run(&[f64::NEG_INFINITY; 2], &[0]) {
            assert!(!loss[1].is_finite());
        }
    }
}
