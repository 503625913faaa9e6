//! Softmax and cross-entropy in one: the loss of a classifier.

use rayon::prelude::*;

use crate::cpu::with_scratch;
use crate::device::DeviceProfile;
use crate::ops::batch::Advance;
use crate::ops::kernel::{Binding, FROM_THE_FIRST_WORKGROUP, Implementation, KernelCall, grid, shader};
use crate::ops::op::{Beside, CpuForm, HostBuffer, Op, Operand, Operands, Precision};
use crate::{Error, Result};

/// Target of a row without an image: the padded rows of an evaluation's last batch.
pub const NO_LABEL: u32 = u32::MAX;

/// Softmax cross-entropy of a batch, how many of its rows are classified correctly, and the gradient.
///
/// ```text
/// softmax[n,c] = exp(logits[n,c]) / sum over c of exp(logits[n,c])
/// label[n,c] = (c == targets[n])
/// share[n,c] = class_weights[c] * ((1 - smoothing) * label[n,c] + smoothing / classes)
/// loss[step] = sum over n,c of share[n,c] * -log(softmax[n,c]) / total_weight
/// correct[step] = number of rows n whose first largest logit is that of targets[n]
/// grad_logits[n,c] = (softmax[n,c] * sum over c of share[n,c] - share[n,c]) / total_weight
/// total_weight = N without class weights, sum over n of class_weights[targets[n]] with them
/// ```
///
/// The plain loss of [`SoftmaxCrossEntropy::new`] has no smoothing, and all its classes have weight 1: a row's loss is
/// `-log(softmax[n,targets[n]])`. [`SoftmaxCrossEntropy::with_smoothing`] and
/// [`SoftmaxCrossEntropy::with_class_weights`] add the rest. With [`SoftmaxCrossEntropy::with_mixed_targets`], a row has
/// two targets: `label[n,c] = (1 - m) * (c == targets[n]) + m * (c == mixed_targets[n])` with `m = mixed_shares[n]`. None of
/// these changes what counts as correct. With [`SoftmaxCrossEntropy::with_counter`], it also counts the step.
///
/// A row whose target is not a class, such as [`NO_LABEL`], adds to no sum and has no gradient; N counts it
/// nevertheless, but the sum of weights does not. A mixed target that is not a class adds nothing. A batch whose weights sum to zero has loss 0 and zero gradients. A
/// class whose share is zero adds nothing to the loss, even if its logit is negative infinity. A row that holds a NaN
/// is not correct. A NaN or a positive infinity in a labelled row makes the loss NaN, unless the total weight is zero.
/// Elements of loss and correct other than `step` are unchanged; a step past the end changes none.
///
/// # Shapes
/// logits `[N,classes]`, targets `[N]`, step `[1]`, and with class weights class_weights `[classes]` (finite, none
/// negative), or with mixed targets mixed_targets `[N]` and mixed_shares `[N]` (from 0 to 1) -> loss `[steps]`, correct
/// `[steps]`, grad_logits `[N,classes]`, and if it counts, counter `[1]` (in place).
///
/// # Source
/// `torch.nn.functional.cross_entropy` with `weight`, `label_smoothing` and the reduction `mean`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    batch_size: usize,
    classes: usize,
    steps: usize,
    smoothing: f32,
    class_weights: bool,
    mixed_targets: bool,
    counts: bool,
}

const OPERATION: &str = "softmax_cross_entropy";

/// The number of the operand loss.
const LOSS: usize = 3;

/// Number of operands of the plain loss.
const OWN: usize = 6;

/// The name of the implementation on a GPU that takes any size: a row a workgroup.
const DIRECT: &str = "direct";

/// The name of the one in a single launch, and the largest numbers of rows and classes that one workgroup takes on.
const ONE_WORKGROUP: &str = "one_workgroup";
const MOST_OF_ONE_WORKGROUP: [usize; 2] = [2048, 32];

/// Invocations of that workgroup.
const INVOCATIONS: usize = 256;

/// The largest numbers of rows and classes: with them, the kernels' loops terminate on every device.
const MOST: [usize; 2] = [1 << 21, 1 << 20];

impl SoftmaxCrossEntropy {
    /// The plain loss of `batch_size` rows of logits of `classes` classes each, in a run of at most `steps` steps.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no rows or classes, and for more than 2^21 rows or 2^20 classes.
    pub fn new(batch_size: usize, classes: usize, steps: usize) -> Result<Self> {
        for (what, size, most) in [("batch_size", batch_size, MOST[0]), ("classes", classes, MOST[1])] {
            if !(1..=most).contains(&size) {
                return Err(Error::invalid(OPERATION, format!("{what} from 1 to {most}"), size));
            }
        }
        let plain = SoftmaxCrossEntropy {
            batch_size,
            classes,
            steps,
            smoothing: 0.0,
            class_weights: false,
            mixed_targets: false,
            counts: false,
        };
        Ok(plain)
    }

    /// The same loss with smoothed labels: a share of `smoothing` of every label is spread evenly over all classes, the
    /// label's own included.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a smoothing outside [0, 1).
    pub fn with_smoothing(self, smoothing: f32) -> Result<Self> {
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Error::invalid(OPERATION, "smoothing from 0 to below 1", smoothing));
        }
        Ok(SoftmaxCrossEntropy { smoothing, ..self })
    }

    /// The same loss with a weight for each class, and the operand `class_weights` after all others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a loss with mixed targets.
    pub fn with_class_weights(self) -> Result<Self> {
        SoftmaxCrossEntropy { class_weights: true, ..self }.checked()
    }

    /// The same loss with a second target for each row, and the operands `mixed_targets` and `mixed_shares` after all
    /// others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a loss with class weights.
    pub fn with_mixed_targets(self) -> Result<Self> {
        SoftmaxCrossEntropy { mixed_targets: true, ..self }.checked()
    }

    /// The same loss, after which the step is counted, as [`Advance`] does, with the operand `counter` after all others.
    pub fn with_counter(self) -> Self {
        SoftmaxCrossEntropy { counts: true, ..self }
    }

    /// The count of steps.
    fn advance(&self) -> Advance {
        Advance { steps: self.steps }
    }

    /// The number of the operand counter, if there is one.
    fn counter(&self) -> Option<usize> {
        let others = usize::from(self.class_weights) + 2 * usize::from(self.mixed_targets);
        self.counts.then_some(OWN + others)
    }

    fn checked(self) -> Result<Self> {
        match self.class_weights && self.mixed_targets {
            true => Err(Error::invalid("loss", "class weights or mixed images (mixup, cutmix)", "both")),
            false => Ok(self),
        }
    }

    /// The operands after those of the plain loss: without the counter, and the counter.
    fn without_counter<'a, T>(
        &self,
        others: &'a mut [HostBuffer<T>],
    ) -> (&'a [HostBuffer<T>], Option<&'a mut HostBuffer<T>>) {
        let (others, counter) = others.split_at_mut(others.len() - usize::from(self.counts));
        (others, counter.first_mut())
    }

    /// Whether only a row's target has a share in its loss, and all targets have the same weight.
    fn is_plain(&self) -> bool {
        self.smoothing == 0.0 && !self.class_weights && !self.mixed_targets
    }

    /// The implementation of a single launch, for a loss whose classes are alike and whose rows have one target each, if one
    /// workgroup is enough for it.
    fn in_one_workgroup(&self, device: &DeviceProfile) -> Option<Implementation> {
        let [most_rows, most_classes] = MOST_OF_ONE_WORKGROUP;
        let is_small = self.batch_size <= most_rows && self.classes <= most_classes;
        let is_alike = !self.class_weights && !self.mixed_targets;
        // An invocation loops over its rows, and over the classes of each three times.
        let trips = self.batch_size.div_ceil(INVOCATIONS) * (1 + 3 * self.classes);
        let fits = INVOCATIONS <= device.max_workgroup_invocations as usize && trips <= device.loop_trips();
        if !(is_small && is_alike && fits) {
            return None;
        }
        let files =
            shader!("loss/softmax_cross_entropy_whole.wgsl", "loss/mean_over_rows.wgsl", "float_bits.wgsl");
        let mut call = KernelCall {
            source: files.with_sizes(&[("INVOCATIONS", INVOCATIONS as u32)]),
            constants: vec![
                ("BATCH_SIZE", self.batch_size.into()),
                ("CLASSES", self.classes.into()),
                ("STEPS", self.steps.into()),
                ("SMOOTHING", self.smoothing.into()),
            ],
            bindings: Binding::operands(OWN),
            workgroups: [1, 1, 1],
        };
        Advance::complete(&mut call, self.counter());
        Some(Implementation::of(ONE_WORKGROUP, call).tailored())
    }
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("logits", [self.batch_size, self.classes]),
            Operand::read("targets", [self.batch_size]).indices(self.classes as u32),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::update("loss", [self.steps]),
            Operand::update("correct", [self.steps]).indices(self.batch_size as u32 + 1),
            Operand::write("grad_logits", [self.batch_size, self.classes]),
        ];
        if self.class_weights {
            operands.push(Operand::read("class_weights", [self.classes]).without_sign());
        }
        if self.mixed_targets {
            operands.push(Operand::read("mixed_targets", [self.batch_size]).indices(self.classes as u32));
            operands.push(Operand::read("mixed_shares", [self.batch_size]).without_sign());
        }
        operands.extend(self.counts.then(|| self.advance().counter()));
        operands
    }

    fn takes_halves(&self, _: usize) -> bool {
        false
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([logits, targets, step, loss, correct, grad_logits], others) = operands.split();
        let (others, counter) = self.without_counter(others);
        let (logits, targets, grad_logits) = (logits.reals(), targets.indices(), grad_logits.reals_mut());
        let class_weight = |c: usize| if self.class_weights { others[0].reals()[c] } else { 1.0 };
        // The second target of a row and its part of the label.
        let mixed = |n: usize| match others {
            [targets, shares] => (targets.indices()[n] as usize, shares.reals()[n]),
            _ => (0, 0.0),
        };
        let smoothing = f64::from(self.smoothing);
        let share = |n: usize, c: usize| {
            let is = |target: usize| if c == target { 1.0 } else { 0.0 };
            let (other, part) = mixed(n);
            let label = (1.0 - part) * is(targets[n] as usize) + part * is(other);
            class_weight(c) * ((1.0 - smoothing) * label + smoothing / self.classes as f64)
        };
        let total_weight = if self.class_weights {
            let labels = targets.iter().map(|&target| target as usize);
            labels.filter(|&target| target < self.classes).map(class_weight).sum()
        } else {
            self.batch_size as f64
        };
        let mean = |sum: f64| if total_weight == 0.0 { 0.0 } else { sum / total_weight };
        let (mut sum, mut hits) = (0.0, 0);
        for (n, &target) in targets.iter().enumerate() {
            let target = target as usize;
            let row = n * self.classes..(n + 1) * self.classes;
            let (logits, grad_logits) = (&logits[row.clone()], &mut grad_logits[row]);
            if target >= self.classes {
                grad_logits.fill(0.0);
                continue;
            }
            // log(sum of exp(logit)) = largest + log(sum of exp(logit - largest)), in which nothing overflows.
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            let with_a_share = (0..self.classes).filter(|&c| share(n, c) != 0.0);
            let distance: f64 = with_a_share.map(|c| share(n, c) * (largest - logits[c])).sum();
            let shares: f64 = (0..self.classes).map(|c| share(n, c)).sum();
            // A NaN shows even in a row without any share.
            sum += shares * total.ln() + distance;
            let first_largest = logits.iter().position(|&logit| logit == largest);
            if first_largest == Some(target) && !logits.iter().any(|logit| logit.is_nan()) {
                hits += 1;
            }
            for c in 0..self.classes {
                let softmax = (logits[c] - largest).exp() / total;
                grad_logits[c] = mean(softmax * shares - share(n, c));
            }
        }
        let step = step.indices()[0] as usize;
        if step < self.steps {
            loss.reals_mut()[step] = mean(sum);
            correct.indices_mut()[step] = hits;
        }
        if let Some(counter) = counter {
            Advance::count(loss, counter, f64::is_finite);
        }
    }

    /// The rows side by side, then their sum, first row first.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([logits, targets, step, loss, correct, grad_logits], others) = operands.split();
            let (others, counter) = self.without_counter(others);
            let (classes, targets) = (self.classes, targets.indices());
            let class_weights = self.class_weights.then(|| others[0].reals());
            let class_weight = |c: usize| class_weights.map_or(1.0, |weights| weights[c]);
            // The second target of a row and its part of the label.
            let mixed = |n: usize| match others {
                [targets, shares] => Some((targets.indices()[n] as usize, shares.reals()[n])),
                _ => None,
            };
            let [of_target, of_each] = [1.0 - self.smoothing, self.smoothing / classes as f32];
            let total_weight = if self.class_weights {
                let labels = targets.iter().map(|&target| target as usize);
                labels.filter(|&target| target < classes).map(|target| f64::from(class_weight(target))).sum()
            } else {
                self.batch_size as f64
            };
            let scale = 1.0 / total_weight as f32;
            let rows = logits.reals().par_chunks(classes).zip(targets);
            let rows = grad_logits.reals_mut().par_chunks_mut(classes).zip(rows);
            // For each row, the loss and whether it is classified correctly.
            with_scratch(2 * self.batch_size, |results| {
                rows.zip(results.par_chunks_exact_mut(2)).enumerate().for_each(
                    |(n, ((grad_logits, (logits, &target)), result))| {
                        let target = target as usize;
                        if target >= classes {
                            grad_logits.fill(0.0);
                            result.fill(0.0);
                            return;
                        }
                        let winner = (1..classes).fold(0, |best, c| {
                            let larger =
                                logits[c] > logits[best] || logits[c].is_nan() && !logits[best].is_nan();
                            if larger { c } else { best }
                        });
                        let largest = logits[winner];
                        result[1] = f32::from(u8::from(winner == target && !largest.is_nan()));
                        if total_weight == 0.0 {
                            grad_logits.fill(0.0);
                            result[0] = 0.0;
                            return;
                        }
                        for (grad, logit) in grad_logits.iter_mut().zip(logits) {
                            *grad = (logit - largest).exp();
                        }
                        let total = grad_logits.iter().map(|&value| f64::from(value)).sum::<f64>() as f32;
                        // The sum of all shares, and that of their logits' distances from the largest.
                        let (other, part) =
                            mixed(n).filter(|&(other, _)| other < classes).unwrap_or((target, 0.0));
                        let whole = of_target * class_weight(target);
                        let of_two = [(target, whole * (1.0 - part)), (other, whole * part)];
                        let (mut shares, mut distance) = (0.0, 0.0);
                        for (class, share) in of_two.into_iter().filter(|&(_, share)| share != 0.0) {
                            shares += share;
                            distance += share * (largest - logits[class]);
                        }
                        if of_each > 0.0 {
                            let (mut others, mut their_distance) = (0.0, 0.0);
                            for c in (0..classes).filter(|&c| class_weight(c) != 0.0) {
                                others += f64::from(class_weight(c));
                                their_distance += f64::from(class_weight(c) * (largest - logits[c]));
                            }
                            shares += of_each * others as f32;
                            distance += of_each * their_distance as f32;
                        }
                        for grad in grad_logits.iter_mut() {
                            *grad *= scale * shares / total;
                        }
                        for (class, share) in of_two {
                            grad_logits[class] -= scale * share;
                        }
                        if of_each > 0.0 {
                            for (c, grad) in grad_logits.iter_mut().enumerate() {
                                *grad -= scale * of_each * class_weight(c);
                            }
                        }
                        result[0] = shares * total.ln() + distance;
                    },
                );
                let step = step.indices()[0] as usize;
                if step < self.steps {
                    let sum: f64 = results.chunks_exact(2).map(|result| f64::from(result[0])).sum();
                    let mean = if total_weight == 0.0 { 0.0 } else { sum / total_weight };
                    loss.reals_mut()[step] = mean as f32;
                    correct.indices_mut()[step] =
                        results.chunks_exact(2).filter(|result| result[1] == 1.0).count() as u32;
                }
            });
            if let Some(counter) = counter {
                Advance::count(loss, counter, f32::is_finite);
            }
        })
    }

    /// One workgroup for everything, if that is enough; or the total weight of the batch if classes have weights, then each
    /// row, then the sum over the rows.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let sizes = || {
            vec![
                FROM_THE_FIRST_WORKGROUP,
                ("BATCH_SIZE", self.batch_size.into()),
                ("CLASSES", self.classes.into()),
            ]
        };
        let (operand, class_weights) = (Binding::Operand, Binding::Operand(6));
        let [row_loss, row_correct, total_weight] = [0, 1, 2].map(Binding::Workspace);
        let mut rows = KernelCall {
            source: shader!("loss/softmax_cross_entropy_rows.wgsl"),
            constants: sizes(),
            bindings: vec![operand(0), operand(1), operand(5), row_loss, row_correct],
            workgroups: grid(self.batch_size),
        };
        if !self.is_plain() {
            rows.source = shader!("loss/softmax_cross_entropy_rows_shared.wgsl");
            rows.constants.push(("SMOOTHING", self.smoothing.into()));
            let labels = match self.mixed_targets {
                true => shader!("loss/labels_mixed.wgsl"),
                false => shader!("loss/labels_alone.wgsl"),
            };
            rows.source.files.extend(labels.files);
        }
        if self.mixed_targets {
            rows.bindings.extend([operand(6), operand(7)]);
        }
        let parts = shader!("loss/winner.wgsl", "loss/sum.wgsl", "float_bits.wgsl", "grid.wgsl");
        rows.source.files.extend(parts.files);
        let mut total = KernelCall {
            source: shader!("loss/softmax_cross_entropy_total.wgsl", "float_bits.wgsl", "grid.wgsl"),
            constants: vec![
                FROM_THE_FIRST_WORKGROUP,
                ("BATCH_SIZE", self.batch_size.into()),
                ("STEPS", self.steps.into()),
            ],
            bindings: vec![operand(2), operand(3), operand(4), row_loss, row_correct],
            workgroups: [1, 1, 1],
        };
        if !self.class_weights {
            for call in [&mut rows, &mut total] {
                call.source.files.extend(shader!("loss/mean_over_rows.wgsl").files);
            }
            if !self.is_plain() {
                rows.source.files.extend(shader!("loss/classes_alike.wgsl").files);
            }
            Advance::complete(&mut total, self.counter());
            let in_two = Implementation::of_calls(DIRECT, vec![rows, total], vec![self.batch_size; 2]);
            return self.in_one_workgroup(device).into_iter().chain([in_two]).collect();
        }
        for call in [&mut rows, &mut total] {
            call.source.files.extend(shader!("loss/mean_over_weights.wgsl").files);
            call.bindings.push(total_weight);
        }
        Advance::complete(&mut total, self.counter());
        rows.source.files.extend(shader!("loss/class_weights.wgsl").files);
        rows.bindings.push(class_weights);
        let weights = KernelCall {
            source: shader!("loss/total_weight.wgsl", "loss/sum.wgsl", "grid.wgsl"),
            constants: sizes(),
            bindings: vec![operand(1), class_weights, total_weight],
            workgroups: [1, 1, 1],
        };
        let workspace = vec![self.batch_size, self.batch_size, 1];
        vec![Implementation::of_calls(DIRECT, vec![weights, rows, total], workspace)]
    }

    fn fuse_beside(&self, other: &dyn Op) -> Option<Beside> {
        self.advance().beside(other, LOSS, self.counter(), self.with_counter())
    }

    /// A comparison, a difference, an exponential, a sum, a quotient and a product for each logit; if every class has a
    /// share, also two products and a sum for the share, a sum of shares, and a product and a sum for its part of the
    /// loss.
    fn flops(&self) -> u64 {
        let each = if self.is_plain() { 6 } else { 12 };
        each * self.batch_size as u64 * self.classes as u64
    }

    /// Sums of 64 strided parts, one after the other, or of the classes of a row, which are few then; exponentials and
    /// logarithms of a few units in the last place. A total weight and sums of shares double the number of terms.
    fn precision(&self) -> Precision {
        let sums = self.classes.div_ceil(64) + self.batch_size.div_ceil(64);
        let summed = if self.is_plain() { sums } else { 2 * sums };
        Precision { summed, ..Precision::approximate(16.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses, numbers of correct rows and gradients of the definition and of the CPU form, at step 1 of 3.
    fn run(logits: &[f64], targets: &[u32]) -> [(Vec<f64>, Vec<u32>, Vec<f64>); 2] {
        let op = SoftmaxCrossEntropy::new(targets.len(), logits.len() / targets.len(), 3).unwrap();
        run_op(op, logits, targets, &[])
    }

    /// As [`run`], for any operation with three steps; with class weights if it has them.
    fn run_op(
        op: SoftmaxCrossEntropy,
        logits: &[f64],
        targets: &[u32],
        class_weights: &[f64],
    ) -> [(Vec<f64>, Vec<u32>, Vec<f64>); 2] {
        let mut given = vec![
            HostBuffer::real(logits.to_vec()),
            HostBuffer::index(targets.to_vec()),
            HostBuffer::index(vec![1]),
            HostBuffer::real(vec![7.0; 3]),
            HostBuffer::index(vec![9; 3]),
            HostBuffer::real(vec![5.0; logits.len()]),
        ];
        given.extend(op.class_weights.then(|| HostBuffer::real(class_weights.to_vec())));
        let mut on_cpu =
            Operands::new(given.iter().map(|buffer| buffer.map_reals(|&value| value as f32)).collect());
        let mut defined = Operands::new(given);
        op.define(&mut defined);
        op.cpu_forms()[0].run(&mut on_cpu);
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
    fn smoothing_that_leaves_no_label_is_refused() {
        let plain = SoftmaxCrossEntropy::new(2, 3, 1).unwrap();
        assert_eq!(plain.with_smoothing(0.0).unwrap(), plain);
        assert!(plain.with_smoothing(0.999).is_ok());
        for (smoothing, found) in [(1.0, "1"), (-0.1, "-0.1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let error = plain.with_smoothing(smoothing).unwrap_err().to_string();
            let expected =
                format!("softmax_cross_entropy: expected smoothing from 0 to below 1, found {found}");
            assert_eq!(error, expected);
        }
    }

    /// With equal logits, softmax is uniform: each term is log(classes).
    #[test]
    fn class_weights_divide_by_the_weights_of_labelled_rows() {
        let op = SoftmaxCrossEntropy::new(3, 2, 3).unwrap().with_class_weights().unwrap();
        for (loss, correct, grad_logits) in run_op(op, &[0.0; 6], &[0, 1, NO_LABEL], &[3.0, 1.0]) {
            assert!((loss[1] - 2f64.ln()).abs() < 1e-6, "{}", loss[1]);
            assert_eq!(correct[1], 1);
            assert_eq!(grad_logits, [-0.375, 0.375, 0.125, -0.125, 0.0, 0.0]);
        }
        // By hand: (1 - e) * w[t] + e/2 * (w[0] + w[1]) = 0.5 * 3 + 0.25 * 4 and 0.5 * 1 + 0.25 * 4, over 4.
        let op = op.with_smoothing(0.5).unwrap();
        for (loss, ..) in run_op(op, &[0.0; 6], &[0, 1, NO_LABEL], &[3.0, 1.0]) {
            assert!((loss[1] - 2f64.ln()).abs() < 1e-6, "{}", loss[1]);
        }
        for (loss, ..) in run_op(op, &[0.0; 6], &[0, 0, NO_LABEL], &[3.0, 1.0]) {
            assert!((loss[1] - 2f64.ln() * 5.0 / 6.0).abs() < 1e-6, "{}", loss[1]);
        }
    }

    #[test]
    fn a_batch_that_weighs_nothing_changes_nothing() {
        for smoothing in [0.0, 0.25] {
            let op = SoftmaxCrossEntropy::new(2, 2, 3).unwrap().with_class_weights().unwrap();
            let op = op.with_smoothing(smoothing).unwrap();
            for logits in [[3.0, 1.0, 2.0, 5.0], [3.0, 1.0, f64::NAN, 5.0]] {
                for (loss, correct, grad_logits) in run_op(op, &logits, &[0, NO_LABEL], &[0.0, 2.0]) {
                    assert_eq!((loss[1], correct[1]), (0.0, 1));
                    assert_eq!(grad_logits, [0.0; 4]);
                }
            }
            for (loss, _, grad_logits) in run_op(op, &[f64::NAN, 1.0, 2.0, 5.0], &[0, 0], &[0.0, 2.0]) {
                assert_eq!((loss[1], grad_logits), (0.0, vec![0.0; 4]));
            }
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
